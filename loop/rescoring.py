"""The live release under two evaluators: what owners see before they change what is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from governance.digests import json_digest
from governance.models import Release
from governance.pointers import current_digest, live_release, release_key
from loop.errors import EvaluatorError, OutputRejected, SandboxError, TaskError
from loop.installation import ARTIFACTS, LABELS, store
from loop.installed import InstalledTask, gateway_limits, harness_folder, runtime_by, upstream_of
from loop.rollout import RolloutReport, RolloutRequest, run_rollout
from loop.rollouts import PUBLIC_VAL
from loop.sandbox import get_backend
from loop.scoring import Evaluation, score_outputs
from loop.scratch import scratch
from loop.types import Outcome

SEED = 1
NOTHING_LIVE = "Nothing is live for this task, so there is nothing to score."


def rescore(task: InstalledTask, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The evidence `rescored`: the live release runs once on public-val, and both evaluators score its outputs.

    The two scores stand side by side for people; nothing else ever compares them.
    """
    old = task.evaluation(PUBLIC_VAL)
    new = replace(
        old,
        evaluator_dir=store(ARTIFACTS).path(manifest["code"]),
        labels_dir=store(LABELS).path(manifest["labels"]) / PUBLIC_VAL,
        runtime=runtime_by(manifest["runtime"]),
    )
    digests = (task.evaluator.digest, json_digest(dict(manifest)))
    release = live_or_none(task)
    if release is None:
        return told(task, None, PUBLIC_VAL, [Side(digest, None, NOTHING_LIVE) for digest in digests])
    with scratch("rescore") as workdir:
        report = run_live(task, release, task.inputs(PUBLIC_VAL), workdir)
        if report.outcome is Outcome.SANDBOX_ERROR:
            raise SandboxError(report.reason)
        if report.outcome is not Outcome.OK:
            raise TaskError(
                f"The live release of {task.row.slug} gives no outputs on {PUBLIC_VAL} ({report.reason}), so the new "
                "evaluator cannot be judged by it; revert to a release that runs."
            )
        sides = [
            _side(digest, evaluation, workdir / "outputs")
            for digest, evaluation in zip(digests, (old, new), strict=True)
        ]
    return {**told(task, release, PUBLIC_VAL, sides), "n": len(old.expected_ids)}


@dataclass(frozen=True, slots=True)
class Side:
    """What one evaluator says of the live release: a score, or None and why.

    `items` are the scores of the items that count, where the other side has the same items.
    """

    evaluator: str
    score: float | None
    reason: str
    items: Mapping[str, float] | None = None


def live_or_none(task: InstalledTask) -> Release | None:
    """The live release; None where nothing was installed yet."""
    return live_release(task.row) if current_digest(release_key(task.row)) else None


def run_live(task: InstalledTask, release: Release, inputs: Path, workdir: Path) -> RolloutReport:
    """One run of a release on these inputs, unscored; its outputs stay in `workdir`/outputs."""
    with harness_folder(release) as harness:
        return run_rollout(
            RolloutRequest(
                task=task.spec,
                harness=harness,
                inputs=inputs,
                upstream=upstream_of(release),
                gateway_limits=gateway_limits(task),
                seed=SEED,
                workdir=workdir,
                runtime=runtime_by(release.binding["runtime"]),
            )
        )


def told(task: InstalledTask, release: Release | None, split: str, sides: Sequence[Side]) -> dict[str, Any]:
    """The evidence about the two sides, in aggregates."""
    items = [side.items for side in sides]
    changed = None if items[0] is None or items[1] is None else _changed(items[0], items[1])
    old, new = ({"evaluator": side.evaluator, "score": side.score, "reason": side.reason} for side in sides)
    return {
        "release": release.digest if release else None,
        "split": split,
        "metric": task.spec.metric.name,
        "n": None,
        "items_changed": changed,
        "old": old,
        "new": new,
    }


def _side(digest: str, evaluation: Evaluation, outputs: Path) -> Side:
    try:
        score = score_outputs(get_backend(), evaluation, outputs)
    except (EvaluatorError, OutputRejected) as error:
        return Side(digest, None, str(error))
    return Side(digest, score.value, "", score.items)


def _changed(old: Mapping[str, float], new: Mapping[str, float]) -> int:
    return sum(old[key] != new[key] for key in old)
