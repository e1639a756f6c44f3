"""Rollouts of releases on public splits, with their trajectories, kept in the database. A key is never run twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F

from governance.digests import json_digest
from governance.models import Release
from loop.agents.failures import count_failures
from loop.catalog import read_ids
from loop.contract import Spent
from loop.errors import Outage, SandboxError
from loop.gateway import GatewaySession, Memory, ReplyCache
from loop.installed import InstalledTask, gateway_limits, harness_folder, runtime_by, upstream_of
from loop.models import Campaign, Generation, Rollout, Step
from loop.outputs import read_outputs
from loop.rollout import RolloutReport, RolloutRequest, run_rollout
from loop.scratch import scratch
from loop.types import ModelCall, Outcome

PUBLIC_TRAIN = "public-train"
PUBLIC_VAL = "public-val"
_IN_COLUMNS = {"index", "item_id", "prompt_tokens", "completion_tokens", "cost_usd", "latency_ms"}
_IN_BODY = tuple(each.name for each in fields(ModelCall) if each.name not in _IN_COLUMNS)


@dataclass(frozen=True, slots=True)
class Purpose:
    """For whom a rollout is run, the seed that both arms of a comparison share, and what it may spend at most.

    `cache` lets model calls on public-val be answered from the reply cache; other splits never are.
    """

    campaign: Campaign
    generation: Generation | None
    seed: int
    tokens_left: int
    cost_left_usd: float
    on_session: Callable[[GatewaySession], None] | None = None
    cache: bool = False


def reply_cache() -> ReplyCache:
    """The replies that rollouts with a cache share, below the data home."""
    return ReplyCache(Path(settings.PAWL_HOME) / "replies")


def roll_out(task: InstalledTask, release: Release, split: str, purpose: Purpose) -> Rollout:
    """The rollout of `release` on a public split: the stored one, or a new one, whole with its steps.

    Raises SandboxError when the sandbox itself failed and Outage when the task model did: neither is a result, so it
    is not stored, but what its calls used is charged.
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
    limits = replace(
        gateway_limits(task),
        max_tokens=max(1, purpose.tokens_left),
        max_cost_usd=max(0.0, purpose.cost_left_usd),
    )
    with harness_folder(release) as harness, scratch("rollout") as workdir:
        report = _run(
            purpose,
            RolloutRequest(
                task=task.spec,
                harness=harness,
                inputs=task.inputs(split),
                evaluation=task.evaluation(split),
                upstream=upstream_of(release),
                gateway_limits=limits,
                seed=purpose.seed,
                workdir=workdir,
                runtime=runtime_by(release.binding["runtime"]),
                on_session=purpose.on_session,
                memory=Memory(cache=reply_cache() if purpose.cache and split == PUBLIC_VAL else None),
            ),
        )
        failures = _failures(task, split, report, workdir / "outputs") if report.score else {}
    return _store(_Finished(key, split, report, failures), task, release, purpose)


def _run(purpose: Purpose, request: RolloutRequest) -> RolloutReport:
    """The rollout's report when it is a result. Raises Outage or SandboxError, with what was used charged."""
    try:
        report = run_rollout(request)
    except Outage as outage:
        charge(purpose.campaign, purpose.generation, outage.tokens, outage.cost_usd)
        raise
    if report.outcome is Outcome.SANDBOX_ERROR:
        charge(purpose.campaign, purpose.generation, report.usage.tokens, report.usage.cost_usd)
        raise SandboxError(report.reason)
    return report


@dataclass(frozen=True, slots=True)
class _Finished:
    key: str
    split: str
    report: RolloutReport
    failures: dict[str, int]


def _failures(task: InstalledTask, split: str, report: RolloutReport, outputs: Path) -> dict[str, int]:
    """Failed items by kind, from the calls and from the outputs that the evaluator's shim has already checked."""
    assert report.score is not None
    schema = task.spec.outputs
    predictions = read_outputs(
        outputs / schema.file, schema, read_ids(task.inputs(split), task.spec.inputs_file)
    )
    return count_failures(report.score.items, report.calls, predictions)


def _store(done: _Finished, task: InstalledTask, release: Release, purpose: Purpose) -> Rollout:
    report, score = done.report, done.report.score
    with transaction.atomic():
        row, created = Rollout.objects.get_or_create(
            key=done.key,
            defaults={
                "campaign": purpose.campaign,
                "generation": purpose.generation,
                "release": release,
                "split": done.split,
                "seed": purpose.seed,
                "evaluator_digest": task.evaluator.digest,
                "outcome": report.outcome,
                "reason": report.reason,
                "score": score.value if score else None,
                "items": dict(score.items) if score else {},
                "metrics": dict(score.metrics) if score else {},
                "failures": done.failures,
                "usage": asdict(report.usage),
                "outputs": [asdict(output) for output in report.outputs],
                "provenance": {"backend": report.probe.backend, "sandbox": dict(report.probe.facts)},
                "log_tail": report.log_tail,
            },
        )
        if created:
            Step.objects.bulk_create([_step(row, call) for call in report.calls], batch_size=500)
            charge(purpose.campaign, purpose.generation, report.usage.tokens, report.usage.cost_usd)
    return row


@transaction.atomic
def charge(campaign: Campaign, generation: Generation | None, tokens: int, cost_usd: float) -> None:
    """Count what a rollout used towards the campaign, and the money towards the generation.

    In the transaction that stores a result: a step that is done again finds both or neither. At once where there is
    no result to store.
    """
    if not tokens and not cost_usd:
        return
    spent = Campaign.objects.select_for_update().get(pk=campaign.pk).spent
    total = Spent(**spent).plus(tokens=tokens, cost_usd=cost_usd)
    Campaign.objects.filter(pk=campaign.pk).update(spent=total.as_json())
    if generation is not None:
        Generation.objects.filter(pk=generation.pk).update(cost_usd=F("cost_usd") + cost_usd)


def as_call(step: Step) -> ModelCall:
    """A stored step as the model call it records; what an older step lacks has its default."""
    return ModelCall(
        **{name: step.body[name] for name in _IN_BODY if name in step.body},
        index=step.index,
        prompt_tokens=step.prompt_tokens,
        completion_tokens=step.completion_tokens,
        cost_usd=step.cost_usd,
        latency_ms=step.latency_ms,
        item_id=step.item_id or None,
    )


def _step(row: Rollout, call: ModelCall) -> Step:
    body: dict[str, Any] = {name: getattr(call, name) for name in _IN_BODY}
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
