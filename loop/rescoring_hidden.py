"""The live release on the hidden data under two evaluators: the verifier's work before owners decide.

Where both stand on the same hidden set the release runs once and both score the same outputs; otherwise it runs once on
each. Every opening is an entry of the log, aggregates are all that comes out, and nothing of it goes to the loop.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from governance.actors import VERIFIER
from governance.audit.log import Facts
from governance.errors import GovernanceError
from governance.models import Proposal, Release, Version
from governance.pointers import evaluator_in_force
from governance.submitting import EvaluatorChange, finish_evaluator
from governance.transitions import Status
from loop.errors import EvaluatorError, LoopError, OutputRejected, ProviderError
from loop.evaluator_change import shown_change
from loop.hidden import HiddenSet, Reading, keep_report, open_hidden
from loop.installed import InstalledTask, evaluation_of, open_task
from loop.leases import held
from loop.models import EvaluatorCheck
from loop.rescoring import NOTHING_LIVE, Side, live_or_none, run_live, told
from loop.sandbox import get_backend
from loop.scoring import score_outputs
from loop.scratch import scratch
from loop.types import Outcome
from loop.verification import NO_SCORE

HIDDEN = "hidden"
AWAY = "the task model was out of reach; propose it again when the model answers."


def check(pk: int) -> None:
    """Score the live release on the hidden data for one evaluator proposal and hand it to people. Safe to repeat."""
    with held(EvaluatorCheck, pk) as lease:
        if lease is None:
            return
        row = EvaluatorCheck.objects.select_related("proposal__task", "proposal__version").get(pk=pk)
        if row.done:
            return
        proposal = row.proposal
        change = None
        if proposal.status == Status.VERIFYING:
            assert proposal.task is not None and proposal.version is not None
            old = evaluator_in_force(proposal.task)
            hidden = rescore_hidden(open_task(proposal.task), proposal.version, proposal)
            change = EvaluatorChange(*shown_change(old, proposal.version), row.rescored, hidden)
        with lease.commit():
            if change is not None:
                finish_evaluator(proposal=proposal, change=change)
            EvaluatorCheck.objects.filter(pk=pk).update(done=True)


def rescore_hidden(task: InstalledTask, new: Version, proposal: Proposal) -> dict[str, Any]:
    """The evidence `rescored_hidden`: a score is None, with the reason in words of ours, where there is none."""
    old = task.evaluator
    release = live_or_none(task)
    if release is None:
        return told(task, None, HIDDEN, [Side(each.digest, None, NOTHING_LIVE) for each in (old, new)])
    together = old.manifest["hidden_commitment"] == new.manifest["hidden_commitment"]
    openings = [(old, new)] if together else [(old,), (new,)]
    sides: list[Side] = []
    sizes: list[int] = []
    for evaluators in openings:
        reading = _reading(proposal, release, evaluators)
        try:
            with open_hidden(evaluators[0], task.spec.inputs_file, reading) as hidden:
                sizes.append(len(set(hidden.ids) - hidden.canaries))
                sides += _sides(task, release, evaluators, hidden, proposal)
        except (LoopError, GovernanceError) as error:
            sides += [Side(each.digest, None, str(error)) for each in evaluators]
    if not together:
        sides = [replace(side, items=None) for side in sides]
    found = told(task, release, HIDDEN, sides)
    return {**found, "n": sizes[0] if together and sizes else None, "same_items": together}


def _sides(
    task: InstalledTask,
    release: Release,
    evaluators: tuple[Version, ...],
    hidden: HiddenSet,
    proposal: Proposal,
) -> list[Side]:
    with scratch("rollout", hidden.scratch) as workdir:
        try:
            report = run_live(task, release, hidden.inputs, workdir)
            why, details = NO_SCORE[report.outcome], f"{report.reason}\n{report.log_tail}"
        except ProviderError as error:
            report, why, details = None, AWAY, str(error)
        if report is not None and report.outcome is Outcome.OK:
            return [_side(task, each, hidden, workdir / "outputs", proposal) for each in evaluators]
        keep_report(f"{proposal.ref}-{release.digest[:12]}", details)
        return [Side(each.digest, None, f"The live release gave no outputs: {why}") for each in evaluators]


def _side(
    task: InstalledTask, evaluator: Version, hidden: HiddenSet, outputs: Path, proposal: Proposal
) -> Side:
    evaluation = evaluation_of(task.spec, evaluator, hidden.labels, hidden.ids)
    try:
        score = score_outputs(get_backend(), evaluation, outputs)
    except (EvaluatorError, OutputRejected) as error:
        log = error.log_tail if isinstance(error, EvaluatorError) else ""
        keep_report(f"{proposal.ref}-{evaluator.digest[:12]}", f"{error}\n{log}")
        return Side(evaluator.digest, None, "It failed; the details are in the hidden store.")
    counted = {key: value for key, value in score.items.items() if key not in hidden.canaries}
    return Side(evaluator.digest, score.value, "", counted)


def _reading(proposal: Proposal, release: Release, evaluators: tuple[Version, ...]) -> Reading:
    assert proposal.task is not None
    return Reading(
        purpose=proposal.ref,
        by=VERIFIER,
        subject=("proposal", proposal.ref),
        facts=Facts(
            task=proposal.task.slug,
            subject_digest=release.digest,
            detail={"rescored_under": [each.digest for each in evaluators]},
        ),
    )
