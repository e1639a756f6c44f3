"""One generation, step by step. Each step is idempotent and commits once, under the campaign's fence.

A step reads what earlier steps stored, computes, and moves `Generation.step` forward in the transaction that holds
its result. A worker that dies in between leaves the step undone; the next one does it again with the same seeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from django.db.models import F
from django.utils import timezone

from governance.errors import GovernanceError
from governance.models import Release
from loop import candidates
from loop.agents.feedback import decide
from loop.agents.meta import first_harness
from loop.archive import best
from loop.errors import EvaluatorError, GaveUp, HarnessError, LoopError, TrainingError
from loop.evidence import accepted, feedback_evidence, meta_evidence
from loop.gate import Comparison, compare, keeps
from loop.landscapes import landscape_of
from loop.models import ArchiveEntry, Generation, Rollout, TrainingJob
from loop.rollouts import PUBLIC_VAL
from loop.turn import Turn
from loop.types import Decision, Lever

Step = Generation.Step
Verdict = Generation.Verdict
MOST_ATTEMPTS = 5


def prepare(turn: Turn) -> None:
    """Choose the parent from the archive; for generation 0 let the Meta-Agent write the first harness."""
    started = time.monotonic()
    if turn.generation.number > 0:
        top = best(accepted(turn.campaign), turn.contract.higher_is_better)
        parent = Release.objects.get(digest=top.release)
        with turn.commit(time.monotonic() - started):
            turn.move(Step.ROLL_OUT, parent=parent, score_before=top.score)
        return
    base = turn.campaign.base_release
    decision = first_harness(turn.backend, meta_evidence(turn), turn.record)
    with turn.commit(time.monotonic() - started):
        candidate = candidates.from_harness(turn, base, decision) if decision.files else base
        turn.move(
            Step.COMPARE, parent=base, candidate=candidate, lever=decision.lever, decision=_plain(decision)
        )


def roll_out_parent(turn: Turn) -> None:
    """Make sure that the parent's trajectories on public-val are there for the agent to read."""
    started = time.monotonic()
    scored(turn.roll_out(_parent(turn), PUBLIC_VAL))
    landscape = landscape_of(turn, _parent(turn))
    with turn.commit(time.monotonic() - started):
        turn.move(Step.DECIDE, comparison={"landscape": asdict(landscape) if landscape else None})


def choose(turn: Turn) -> None:
    """Ask the Feedback-Agent which lever to pull, and keep its decision with its reasons."""
    started = time.monotonic()
    turn.show("the Feedback-Agent reads the trajectories and decides")
    evidence = feedback_evidence(turn)
    decision = decide(turn.backend, evidence, turn.record)
    steps = {Lever.HARNESS: Step.EDIT, Lever.WEIGHTS: Step.TRAIN}
    with turn.commit(time.monotonic() - started):
        kept = {"lever": decision.lever, "decision": _plain(decision)}
        if decision.lever in steps:
            turn.move(steps[decision.lever], **kept)
        elif decision.lever is Lever.STOP:
            _finish(turn, Verdict.STOPPED, decision.reason, **kept)
        else:
            reason = f"The agent asks people to look at the evaluator: {decision.reason}"
            candidates.note_evaluator_request(turn, decision)
            _finish(turn, Verdict.DISCARDED, reason, **kept)


def edit(turn: Turn) -> None:
    """Commit the decided edit as a new harness version on top of the parent."""
    started = time.monotonic()
    decision = Decision(**{**turn.generation.decision, "lever": Lever(turn.generation.decision["lever"])})
    with turn.commit(time.monotonic() - started):
        candidate = candidates.from_harness(turn, _parent(turn), decision)
        turn.move(Step.COMPARE, candidate=candidate)


def train(turn: Turn) -> bool:
    """Queue the weight update, or take up its result. True while a training worker still has to finish it."""
    job, _ = TrainingJob.objects.get_or_create(
        generation=turn.generation, defaults={"algorithm": turn.generation.decision["algorithm"]}
    )
    if job.status == TrainingJob.Status.FAILED:
        raise TrainingError(job.reason)
    if job.status != TrainingJob.Status.FINISHED:
        return True
    assert job.adapter is not None
    with turn.commit(0.0):
        turn.move(Step.COMPARE, candidate=candidates.from_adapter(turn, _parent(turn), job.adapter))
    return False


def compare_arms(turn: Turn) -> None:
    """Score the candidate on public-val, compare it with its parent item by item, and keep or discard it."""
    started = time.monotonic()
    candidate = turn.generation.candidate
    assert candidate is not None
    new = scored(turn.roll_out(candidate, PUBLIC_VAL))
    old = scored(turn.roll_out(_parent(turn), PUBLIC_VAL))
    wall_s = time.monotonic() - started
    assert new.score is not None
    if turn.generation.number == 0:
        with turn.commit(wall_s):
            _accept(turn, _parent(turn), old)
            _accept(turn, candidate, new)
            reason = f"{turn.contract.metric} of the first harness on public-val"
            _finish(turn, Verdict.BASELINE, reason, score_before=old.score, score_after=new.score)
        return
    result = compare(new.items, old.items, turn.contract.rules(), turn.contract.seed)
    kept, reason = keeps(result)
    with turn.commit(wall_s):
        if kept:
            _accept(turn, candidate, new)
        verdict = Verdict.KEPT if kept else Verdict.DISCARDED
        _finish(turn, verdict, reason, score_after=new.score, comparison=_with(turn, result))


STEPS: dict[str, Callable[[Turn], object]] = {
    Step.PREPARE: prepare,
    Step.ROLL_OUT: roll_out_parent,
    Step.DECIDE: choose,
    Step.EDIT: edit,
    Step.TRAIN: train,
    Step.COMPARE: compare_arms,
}


def run_step(turn: Turn) -> bool:
    """Do the generation's next step. True when it now waits for another worker.

    An error of the loop ends the generation with its reason; the campaign goes on without it. So does a step that
    workers have begun MOST_ATTEMPTS times without finishing it.
    """
    try:
        _count_attempt(turn)
        return bool(STEPS[turn.generation.step](turn))
    except (LoopError, GovernanceError) as error:
        if turn.lease.lost.is_set():
            raise
        turn.generation.refresh_from_db()
        with turn.commit(0.0):
            _finish(turn, Verdict.FAILED, f"{type(error).__name__}: {error}")
        return False


def _count_attempt(turn: Turn) -> None:
    if turn.generation.attempts >= MOST_ATTEMPTS:
        raise GaveUp(
            f"{turn.generation.attempts} workers began the step {turn.generation.step} and none finished it; "
            "the service's log says why."
        )
    if turn.generation.step != Step.TRAIN:
        Generation.objects.filter(pk=turn.generation.pk).update(attempts=F("attempts") + 1)


def scored(row: Rollout) -> Rollout:
    """The rollout itself when it has a score. Raises HarnessError or EvaluatorError with its reason otherwise."""
    if row.score is None:
        failure = EvaluatorError if row.outcome == "ok" else HarnessError
        raise failure(f"No score on {row.split} ({row.outcome}): {row.reason}")
    return row


def _parent(turn: Turn) -> Release:
    assert turn.generation.parent is not None
    return turn.generation.parent


def _plain(decision: Decision) -> dict[str, Any]:
    return {**asdict(decision), "lever": decision.lever.value}


def _with(turn: Turn, result: Comparison) -> dict[str, Any]:
    return {**turn.generation.comparison, "public_val": result.as_json()}


def _accept(turn: Turn, release: Release, row: Rollout) -> None:
    assert row.score is not None
    ArchiveEntry.objects.get_or_create(
        campaign=turn.campaign,
        release=release,
        defaults={"generation": turn.generation, "score": row.score},
    )


def _finish(turn: Turn, verdict: Generation.Verdict, reason: str, **changes: object) -> None:
    turn.move(Step.DONE, verdict=verdict, reason=reason, finished_at=timezone.now(), **changes)
