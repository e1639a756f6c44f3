"""The live release under two evaluators: what owners see before they change what is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from governance.digests import json_digest
from governance.pointers import live_release
from loop.errors import EvaluatorError, OutputRejected, SandboxError, TaskError
from loop.installation import ARTIFACTS, LABELS, store
from loop.installed import InstalledTask, gateway_limits, harness_folder, runtime_by, upstream_of
from loop.rollout import RolloutRequest, run_rollout
from loop.rollouts import PUBLIC_VAL
from loop.sandbox import get_backend
from loop.scoring import Evaluation, score_outputs
from loop.scratch import scratch
from loop.types import Outcome, Score

SEED = 1


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
    release = live_release(task.row)
    with scratch("rescore") as workdir, harness_folder(release) as harness:
        report = run_rollout(
            RolloutRequest(
                task=task.spec,
                harness=harness,
                inputs=task.inputs(PUBLIC_VAL),
                upstream=upstream_of(release),
                gateway_limits=gateway_limits(task),
                seed=SEED,
                workdir=workdir,
                runtime=runtime_by(release.binding["runtime"]),
            )
        )
        if report.outcome is Outcome.SANDBOX_ERROR:
            raise SandboxError(report.reason)
        if report.outcome is not Outcome.OK:
            raise TaskError(
                f"The live release of {task.row.slug} gives no outputs on {PUBLIC_VAL} ({report.reason}), so the new "
                "evaluator cannot be judged by it; revert to a release that runs."
            )
        scores = [_score(evaluation, workdir / "outputs") for evaluation in (old, new)]
    items = [score.items if score else None for score, _ in scores]
    changed = None if items[0] is None or items[1] is None else _changed(items[0], items[1])
    digests = (task.evaluator.digest, json_digest(dict(manifest)))
    sides = [
        {"evaluator": digest, "score": score.value if score else None, "reason": reason}
        for digest, (score, reason) in zip(digests, scores, strict=True)
    ]
    return {
        "release": release.digest,
        "split": PUBLIC_VAL,
        "metric": task.spec.metric.name,
        "n": len(old.expected_ids),
        "items_changed": changed,
        "old": sides[0],
        "new": sides[1],
    }


def _score(evaluation: Evaluation, outputs: Path) -> tuple[Score | None, str]:
    """The score of these outputs, or None and why the evaluator gave none."""
    try:
        return score_outputs(get_backend(), evaluation, outputs), ""
    except (EvaluatorError, OutputRejected) as error:
        return None, str(error)


def _changed(old: Mapping[str, float], new: Mapping[str, float]) -> int:
    return sum(old[key] != new[key] for key in old)
