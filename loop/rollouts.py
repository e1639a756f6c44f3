"""Rollouts of releases on public splits, with their trajectories, kept in the database. A key is never run twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.db import transaction

from governance.digests import json_digest
from governance.models import Release
from loop.errors import SandboxError
from loop.gateway import GatewayLimits, GatewaySession
from loop.installed import InstalledTask, harness_folder, runtime_by, upstream_of
from loop.models import Campaign, Generation, Rollout, Step
from loop.rollout import RolloutReport, RolloutRequest, run_rollout
from loop.types import ModelCall, Outcome

PUBLIC_TRAIN = "public-train"
PUBLIC_VAL = "public-val"


@dataclass(frozen=True, slots=True)
class Purpose:
    """For whom a rollout is run: its campaign and generation, and the seed that both arms of a comparison share."""

    campaign: Campaign
    generation: Generation | None
    seed: int
    on_session: Callable[[GatewaySession], None] | None = None


def roll_out(task: InstalledTask, release: Release, split: str, purpose: Purpose) -> Rollout:
    """The rollout of `release` on a public split: the stored one, or a new one, whole with its steps.

    Raises SandboxError when the sandbox itself failed: an outage is not a result and is not stored.
    """
    key = json_digest(
        {
            "release": release.digest,
            "split": split,
            "seed": purpose.seed,
            "evaluator": task.evaluator.digest,
            "campaign": purpose.campaign.ref,
        }
    )
    found = Rollout.objects.filter(key=key).first()
    if found is not None:
        return found
    limits = GatewayLimits(max_completion_tokens=task.spec.model.max_tokens if task.spec.model else 1)
    with harness_folder(release) as harness, TemporaryDirectory(prefix="pawl-r-") as workdir:
        report = run_rollout(
            RolloutRequest(
                task=task.spec,
                harness=harness,
                inputs=task.inputs(split),
                evaluation=task.evaluation(split),
                upstream=upstream_of(release),
                gateway_limits=limits,
                seed=purpose.seed,
                workdir=Path(workdir),
                runtime=runtime_by(release.binding["runtime"]),
                on_session=purpose.on_session,
            )
        )
    if report.outcome is Outcome.SANDBOX_ERROR:
        raise SandboxError(report.reason)
    return _store(key, task, release, purpose, split, report)


def _store(
    key: str, task: InstalledTask, release: Release, purpose: Purpose, split: str, report: RolloutReport
) -> Rollout:
    score = report.score
    with transaction.atomic():
        row, created = Rollout.objects.get_or_create(
            key=key,
            defaults={
                "campaign": purpose.campaign,
                "generation": purpose.generation,
                "release": release,
                "split": split,
                "seed": purpose.seed,
                "evaluator_digest": task.evaluator.digest,
                "outcome": report.outcome,
                "reason": report.reason,
                "score": score.value if score else None,
                "items": dict(score.items) if score else {},
                "metrics": dict(score.metrics) if score else {},
                "usage": asdict(report.usage),
                "outputs": [asdict(output) for output in report.outputs],
                "provenance": {"backend": report.probe.backend, "sandbox": dict(report.probe.facts)},
                "log_tail": report.log_tail,
            },
        )
        if created:
            Step.objects.bulk_create([_step(row, call) for call in report.calls], batch_size=500)
    return row


def _step(row: Rollout, call: ModelCall) -> Step:
    body: dict[str, Any] = {
        "api": call.api,
        "model": call.model,
        "served_model": call.served_model,
        "request": dict(call.request),
        "reply": dict(call.reply) if call.reply is not None else None,
        "status": call.status,
        "error": call.error,
    }
    return Step(
        rollout=row,
        index=call.index,
        item_id=call.item_id or "",
        body=body,
        prompt_tokens=call.prompt_tokens,
        completion_tokens=call.completion_tokens,
        cost_usd=call.cost_usd,
        latency_ms=call.latency_ms,
    )
