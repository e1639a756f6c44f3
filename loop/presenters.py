"""Rows of the loop as pages show them. Reads models, writes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils import timezone
from django.utils.safestring import SafeString

from loop import outages
from loop.charts import Direction, ScorePoint, score_chart, sparkline
from loop.models import AgentCall, Campaign, Generation, HiddenQuery, Rollout, Step, TrainingJob, Verification

UNDRAWN = {"step", "total", "epoch", "time", "seconds", "attempt"}
_BUDGETS = (
    ("generations", "Generations", "count"),
    ("wall_s", "Wall time", "seconds"),
    ("tokens", "Tokens", "count"),
    ("cost_usd", "Cost", "usd"),
    ("hidden_queries", "Hidden queries", "count"),
)


@dataclass(frozen=True, slots=True)
class BudgetBar:
    """One budget of a campaign: used and allowed, in `unit` (count, seconds, usd)."""

    label: str
    unit: str
    used: float
    allowed: float

    @property
    def spent(self) -> bool:
        """Whether nothing is left."""
        return self.used >= self.allowed


@dataclass(frozen=True, slots=True)
class TrainingView:
    """One training job with a line for each live metric."""

    job: TrainingJob
    lines: tuple[tuple[str, float, SafeString], ...]


@dataclass(frozen=True, slots=True)
class StepView:
    """One step of a trajectory: what was asked, what came back. All texts are untrusted."""

    step: Step
    asked: tuple[tuple[str, str], ...]
    answered: str
    error: str
    raw: str

    @property
    def status(self) -> int | None:
        """The HTTP status of the call, when it was recorded."""
        status = self.step.body.get("status") if isinstance(self.step.body, dict) else None
        return status if isinstance(status, int) else None


def budget_bars(campaign: Campaign, generations: int, hidden_queries: int) -> list[BudgetBar]:
    """The campaign's budgets in the order of the contract; budgets that the contract lacks are left out."""
    allowed = campaign.contract.get("budgets", {})
    used = {**campaign.spent, "generations": generations, "hidden_queries": hidden_queries}
    return [
        BudgetBar(label, unit, float(used.get(name) or 0), float(allowed[name]))
        for name, label, unit in _BUDGETS
        if isinstance(allowed.get(name), (int, float))
    ]


def waits(queries: Sequence[HiddenQuery]) -> str:
    """What the hidden test among these waits for and until when, or nothing."""
    rows = [
        query.verification for query in queries if query.verification.status == Verification.Status.WAITING
    ]
    return outages.words(rows[0]) if rows else ""


def contract_facts(campaign: Campaign) -> list[tuple[str, str]]:
    """The contract without its budgets, as label and text."""
    rest = {
        key: value
        for key, value in campaign.contract.items()
        if key != "budgets" and value not in ({}, "", None)
    }
    return [(key.replace("_", " "), _plain(value)) for key, value in rest.items()]


def direction_of(campaign: Campaign) -> Direction:
    """Which way the metric is better."""
    return "maximize" if campaign.contract.get("higher_is_better", True) else "minimize"


def chart_of(campaign: Campaign, generations: Sequence[Generation]) -> SafeString:
    """The score chart of a campaign."""
    points = [ScorePoint(row.number, row.score_after, row.lever, row.verdict) for row in generations]
    return score_chart(
        points,
        metric=str(campaign.contract.get("metric", "score")),
        direction=direction_of(campaign),
        epoch=campaign.epoch,
    )


def seconds_of(generation: Generation) -> float:
    """Wall seconds of a generation so far."""
    return ((generation.finished_at or timezone.now()) - generation.started_at).total_seconds()


def training_view(job: TrainingJob) -> TrainingView:
    """The job with a sparkline for each numeric metric that it reported at least twice."""
    rows = [row for row in job.metrics if isinstance(row, dict)]
    names = sorted({key for row in rows for key in row} - UNDRAWN)
    lines: list[tuple[str, float, SafeString]] = []
    for name in names:
        values = [float(row[name]) for row in rows if _is_number(row.get(name))]
        picture = sparkline(values, label=name)
        if picture:
            lines.append((name, values[-1], picture))
    return TrainingView(job, tuple(lines[:6]))


def step_view(step: Step) -> StepView:
    """A recorded model call as texts, whichever of the two protocols it spoke."""
    body = step.body if isinstance(step.body, dict) else {}
    request, reply = body.get("request"), body.get("reply")
    return StepView(step, _asked(request), _answered(reply), str(body.get("error") or ""), _json(body))


@dataclass(frozen=True, slots=True)
class ExchangeView:
    """One exchange with an agent's model, request and reply as text."""

    call: AgentCall
    request: str
    reply: str


def exchange_view(call: AgentCall) -> ExchangeView:
    """An exchange as its page shows it."""
    return ExchangeView(call, _json(call.request), _json(call.reply) if call.reply is not None else "")


def decided_settings(row: Generation) -> list[tuple[str, str]]:
    """What the decision set: tunables, or algorithm and hyper-parameters."""
    decision = row.decision
    chosen = [("algorithm", decision["algorithm"])] if decision.get("algorithm") else []
    values = {**decision.get("params", {}), **decision.get("hyper", {})}
    return chosen + [(name, _plain(value)) for name, value in sorted(values.items())]


def compared(row: Generation) -> list[tuple[str, str]]:
    """The paired comparison with the parent, if there was one."""
    result = row.comparison.get("public_val")
    if not result:
        return []
    return [
        ("gain", f"{result['gain']:+.3f} ({result['low']:+.3f} to {result['high']:+.3f})"),
        ("wins and losses", f"{result['wins']} and {result['losses']} of {result['n']}"),
        (result["test"], f"p = {result['p']:.3g}"),
    ]


def used_by(rollout: Rollout) -> list[tuple[str, str]]:
    """What a rollout consumed; `not measured` where nothing was."""
    names = {
        "wall_s": ("Wall time", "s"),
        "cpu_s": ("CPU time", "s"),
        "peak_mib": ("Peak memory", "MiB"),
        "processes": ("Processes", ""),
        "model_calls": ("Model calls", ""),
        "tokens": ("Tokens", ""),
        "cost_usd": ("Cost", "USD"),
    }
    return [(label, _measured(rollout.usage.get(key), unit)) for key, (label, unit) in names.items()]


def _measured(value: object, unit: str) -> str:
    if not _is_number(value):
        return "not measured"
    shown = f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
    return f"{shown} {unit}".strip()


def _asked(request: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(request, dict):
        return ()
    parts: list[tuple[str, str]] = []
    if request.get("system"):
        parts.append(("system", _text(request["system"])))
    messages = request.get("messages")
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, dict):
            parts.append((str(message.get("role", "")), _text(message.get("content"))))
    if request.get("prompt"):
        parts.append(("prompt", _text(request["prompt"])))
    return tuple(parts)


def _answered(reply: object) -> str:
    if not isinstance(reply, dict):
        return ""
    choices = reply.get("choices")
    if isinstance(choices, list):
        return "\n".join(_choice(choice) for choice in choices if isinstance(choice, dict))
    return _text(reply.get("content"))


def _choice(choice: dict[str, Any]) -> str:
    message = choice.get("message")
    if not isinstance(message, dict):
        return _text(choice.get("text"))
    return "\n".join(_text(message[key]) for key in ("content", "tool_calls") if message.get(key))


def _text(content: object) -> str:
    """A message's content as text: a string, a list of blocks, or whatever JSON it is."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = (block.get("text") if isinstance(block, dict) else None for block in content)
        blocks = zip(content, texts, strict=True)
        return "\n".join(text if isinstance(text, str) else _json(block) for block, text in blocks)
    return _json(content)


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return (
        _json(value)
        if isinstance(value, dict)
        else f"{value:.6g}"
        if isinstance(value, float)
        else str(value)
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
