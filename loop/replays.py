"""Replays: a recorded rollout run again, the model answered from its record alone, and what came out differently."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from governance.models import Release, Version
from loop.catalog import read_ids
from loop.errors import TaskError
from loop.gateway import Divergence, Memory, Record
from loop.installation import LABELS, store
from loop.installed import evaluation_of, gateway_limits, harness_folder, open_task, runtime_by
from loop.models import Rollout
from loop.recordings import Recording, outputs_digest
from loop.rollout import RolloutReport, RolloutRequest, run_rollout
from loop.rollouts import as_call
from loop.types import OutputFile

SHORTEST_RUN = 6


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of a replay, beside what was recorded."""

    recording: Recording
    report: RolloutReport
    divergence: Divergence | None

    @property
    def score(self) -> float | None:
        """The replay's own score."""
        return self.report.score.value if self.report.score else None

    def differences(self) -> list[str]:
        """A sentence for everything that is not as recorded, calls first; empty for an exact replay."""
        old, new = self.recording, self.report
        found = []
        if self.divergence is not None:
            found.append(f"Call {self.divergence.index} differs: {self.divergence.what}.")
        if new.outcome.value != old.outcome:
            found.append(f"The outcome is {new.outcome.value}, recorded was {old.outcome}.")
        if outputs_digest(new.outputs) != outputs_digest(old.outputs):
            found.append("The outputs differ from the recorded ones.")
        if self.score != old.score:
            found.append(f"The score is {_shown(self.score)}, recorded was {_shown(old.score)}.")
        return found

    def to_json(self) -> dict[str, Any]:
        """What `rollout --replay --json` adds to the report."""
        return {
            "run": self.recording.run,
            "exact": not self.differences(),
            "first_divergence": {"call": self.divergence.index, "what": self.divergence.what}
            if self.divergence
            else None,
            "differences": self.differences(),
            "outputs_digest": outputs_digest(self.report.outputs),
            "recorded_outputs_digest": outputs_digest(self.recording.outputs),
            "recorded_score": self.recording.score,
        }


def replay(recording: Recording, request: RolloutRequest) -> Replay:
    """Run `request` with every model call answered from the record; no model is asked."""
    record = Record(recording.calls)
    again = replace(
        request,
        seed=recording.seed,
        upstream=recording.upstream(),
        gateway_limits=recording.limits,
        memory=Memory(record=record),
    )
    return Replay(recording, run_rollout(again), record.divergence())


def stored_run(run: str) -> Rollout:
    """The stored rollout whose key begins with `run`. Raises TaskError unless there is exactly one."""
    rows = Rollout.objects.select_related("release__task", "release__harness")
    found = list(rows.filter(key__startswith=run)[:2]) if len(run) >= SHORTEST_RUN else []
    if len(found) != 1:
        raise TaskError(
            f"No single stored rollout begins with {run!r} and no record lies there; a rollout's page shows its run, "
            f"of which at least {SHORTEST_RUN} characters are needed."
        )
    return found[0]


def recording_of(row: Rollout) -> Recording:
    """The record of a stored rollout."""
    task = open_task(row.release.task)
    return Recording(
        run=row.key,
        split=row.split,
        seed=row.seed,
        outcome=row.outcome,
        score=row.score,
        outputs=tuple(OutputFile(**each) for each in row.outputs),
        calls=tuple(as_call(step) for step in row.steps.order_by("index")),
        limits=gateway_limits(task),
        has_model=bool(row.release.binding["base_model"]),
        digests={},
    )


@contextmanager
def stored_request(row: Rollout, workdir: Path) -> Iterator[RolloutRequest]:
    """The request of a stored rollout: its release's harness, its split, and the evaluator that scored it."""
    release: Release = row.release
    task = open_task(release.task)
    kind = Version.Kind.EVALUATOR
    evaluator = Version.objects.get(kind=kind, task=release.task, digest=row.evaluator_digest)
    inputs = task.inputs(row.split)
    labels = store(LABELS).path(evaluator.manifest["labels"]) / row.split
    with harness_folder(release) as harness:
        yield RolloutRequest(
            task=task.spec,
            harness=harness,
            inputs=inputs,
            runtime=runtime_by(release.binding["runtime"]),
            workdir=workdir,
            seed=row.seed,
            evaluation=evaluation_of(task.spec, evaluator, labels, read_ids(inputs, task.spec.inputs_file)),
        )


def _shown(score: float | None) -> str:
    return "none" if score is None else f"{score:.6g}"
