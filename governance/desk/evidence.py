"""The evidence of a proposal as cards. What a piece of evidence lacks is shown as lacking, never as zero."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.safestring import SafeString

from governance.desk.svg import interval_plot
from governance.models import Evidence

_ORDER = (
    "rescored",
    "rescored_hidden",
    "comparison",
    "public",
    "attribution",
    "ledger",
    "detectors",
    "sample",
    "not_tested",
    "decision",
    "cost",
    "adapter",
    "contract",
)
_TITLES = {
    "comparison": "Hidden test against the live release",
    "rescored": "The live release under both evaluators",
    "rescored_hidden": "The live release under both evaluators, hidden",
    "public": "Public validation",
    "attribution": "What each lever adds",
    "ledger": "Hidden-query ledger",
    "detectors": "Detectors",
    "sample": "Trajectories to read",
    "contract": "The campaign's contract",
    "cost": "Cost",
    "decision": "Why the agent did this",
    "not_tested": "What was not tested",
    "adapter": "Adapter manifest",
}


@dataclass(frozen=True, slots=True)
class Card:
    """One piece of evidence, ready for templates/desk/cards/<template>.html."""

    name: str
    title: str
    template: str
    sha256: str
    size: int
    data: Any
    extra: Mapping[str, Any] = field(default_factory=dict)


def cards(evidence: Sequence[Evidence]) -> list[Card]:
    """All evidence except the diff, in a fixed order, unknown names last."""
    rank = {name: at for at, name in enumerate(_ORDER)}
    shown = [item for item in evidence if item.name != "diff"]
    return [
        _card(item) for item in sorted(shown, key=lambda item: (rank.get(item.name, len(rank)), item.name))
    ]


def read_json(item: Evidence) -> Any:
    """The parsed body of JSON evidence, or None when it is not JSON."""
    try:
        return json.loads(item.data())
    except ValueError:
        return None


def epoch_of(comparison: Any) -> str:
    """The digest of the evaluator that a comparison names, or nothing."""
    named = comparison.get("evaluator") if isinstance(comparison, dict) else None
    return named if isinstance(named, str) else ""


def score_delta(comparison: Any) -> float | None:
    """The difference that a `comparison` states, in the metric's unit; None when it states none."""
    return _number(_first(comparison, "difference", "gain")) if isinstance(comparison, dict) else None


def _card(item: Evidence) -> Card:
    data = read_json(item)
    build = _BUILDERS.get(item.name)
    title = _TITLES.get(item.name, item.name.replace("_", " ").capitalize())
    if build is not None and isinstance(data, (dict, list)):
        template, extra = build(data)
    else:
        template, extra = "raw", {"text": _raw(item, data)}
    return Card(item.name, title, template, item.sha256, item.size, data, extra)


def _comparison(data: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(data, dict):
        return _facts(data)
    low, high = _interval(data)
    difference = score_delta(data)
    facts = {
        "difference": difference,
        "before": _first(data, "score_before", "incumbent"),
        "after": _first(data, "score_after", "candidate"),
        "wins": _first(data, "b", "wins"),
        "losses": _first(data, "c", "losses"),
        "method": _first(data, "method", "test") or "paired test",
        "low": low,
        "high": high,
        "plot": _plot(data, low, difference, high),
        "slices": _slices(data.get("slices")),
    }
    return "comparison", facts


def _slices(found: Any) -> list[dict[str, Any]]:
    """The guarded slices, each with its figures as numbers or None."""
    rows = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    figures = ("n", "gain", "low", "high", "margin")
    return [
        {
            "name": str(item.get("name", "")),
            "held": item.get("held") is True,
            **{name: _number(item.get(name)) for name in figures},
        }
        for item in rows
    ]


def _interval(data: Mapping[str, Any]) -> tuple[float | None, float | None]:
    pair = data.get("interval")
    if isinstance(pair, list) and len(pair) == 2:
        return _number(pair[0]), _number(pair[1])
    return _number(data.get("low")), _number(data.get("high"))


def _plot(data: Mapping[str, Any], low: float | None, value: float | None, high: float | None) -> SafeString:
    if low is None or value is None or high is None or low > high:
        return SafeString()
    label = f"Difference {value:+.3g}, interval from {low:+.3g} to {high:+.3g}"
    smallest = _number(data.get("smallest_gain"))
    return interval_plot(low=low, value=value, high=high, smallest_gain=smallest, label=label)


def _public(data: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(data, dict):
        return _facts(data)
    before, after = _number(data.get("score_before")), _number(data.get("score_after"))
    change = after - before if before is not None and after is not None else None
    return "public", {"change": change}


def _attribution(data: Any) -> tuple[str, dict[str, Any]]:
    cells = data.get("cells") if isinstance(data, dict) else None
    if not isinstance(cells, list):
        return _facts(data)
    found = {
        (cell.get("harness"), cell.get("adapter")): _number(cell.get("score"))
        for cell in cells
        if isinstance(cell, dict)
    }
    rows = [
        (harness, [(adapter, found.get((harness, adapter))) for adapter in ("old", "new")])
        for harness in ("old", "new")
    ]
    return "attribution", {"rows": rows, "base": found.get(("old", "old"))}


def _rescored(data: Any) -> tuple[str, dict[str, Any]]:
    sides = [data.get(name) for name in ("old", "new")] if isinstance(data, dict) else []
    if not sides or not all(isinstance(side, dict) for side in sides):
        return _facts(data)
    words = ("In force", "Proposed")
    return "rescored", {"rows": [(word, side) for word, side in zip(words, sides, strict=True)]}


def _ledger(data: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(data, dict):
        return _facts(data)
    return "ledger", {"level": _first(data, "alpha_query", "alpha"), "family": data.get("alpha")}


def _detectors(data: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        return _facts(data)
    return "detectors", {"findings": [_finding(item) for item in data]}


def _finding(item: Mapping[str, Any]) -> dict[str, Any]:
    """One detector's row: what it saw, whether that blocks, and the figures that say so."""
    fired, blocks = item.get("fired"), bool(item.get("blocks"))
    figures = item.get("measured")
    excerpts = item.get("excerpts")
    return {
        "detector": str(item.get("detector") or "detector"),
        "saw": "fired" if fired else "could not look" if fired is None else "found nothing",
        "state": "bad" if fired and blocks else "warn" if fired else "unknown" if fired is None else "good",
        "may": "block" if blocks else "advise",
        "detail": str(item.get("detail", "")),
        "precision": _share(figures, "precision"),
        "recall": _share(figures, "recall"),
        "excerpts": [each for each in excerpts if isinstance(each, dict)]
        if isinstance(excerpts, list)
        else [],
    }


def _share(figures: Any, name: str) -> str:
    """`0.94 (0.74 to 0.99)` of a measured share; empty when it was never measured."""
    value = _number(figures.get(name)) if isinstance(figures, dict) else None
    if value is None:
        return ""
    pair = figures.get(f"{name}_interval")
    ends = [_number(end) for end in pair] if isinstance(pair, list) and len(pair) == 2 else [None, None]
    return f"{value:.2f}" + (f" ({ends[0]:.2f} to {ends[1]:.2f})" if None not in ends else "")


def _sample(data: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(data, dict):
        return _facts(data)
    groups = {
        name: [
            item
            for item in group
            if isinstance(item, dict) and isinstance(item.get("rollout"), int) and item.get("item")
        ]
        for name, group in data.items()
        if isinstance(group, list)
    }
    return "sample", {"groups": [(name, rows) for name, rows in groups.items() if rows]}


def _decision(data: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(data, dict):
        data = data.get("decisions", [data])
    decisions = [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []
    shown = [
        {**item, "settings": facts_of(item.get("params") or item.get("hyper") or {})} for item in decisions
    ]
    return "decision", {"decisions": shown}


def _not_tested(data: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(data, dict):
        data = next((value for value in data.values() if isinstance(value, list)), [])
    return "not_tested", {"sentences": [str(item) for item in data]}


def _facts(data: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(data, dict):
        return "facts", {"facts": facts_of(data)}
    return "raw", {"text": json.dumps(data, indent=2, ensure_ascii=False)}


def facts_of(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A flat mapping as labels and texts; nested values as compact JSON."""
    return [(key.replace("_", " "), _plain(value)) for key, value in data.items()]


def _plain(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def raw_text(item: Evidence) -> str:
    """The whole of a piece of evidence as text; JSON is indented."""
    data = read_json(item)
    if data is not None:
        return json.dumps(data, indent=2, ensure_ascii=False)
    return item.data().decode("utf-8", "replace")


def _raw(item: Evidence, data: Any) -> str:
    return raw_text(item) if data is not None else item.data()[:20_000].decode("utf-8", "replace")


def _first(data: Mapping[str, Any], *names: str) -> Any:
    return next((data[name] for name in names if data.get(name) is not None), None)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


_BUILDERS = {
    "comparison": _comparison,
    "public": _public,
    "rescored": _rescored,
    "rescored_hidden": _rescored,
    "attribution": _attribution,
    "ledger": _ledger,
    "decision": _decision,
    "not_tested": _not_tested,
    "detectors": _detectors,
    "sample": _sample,
    "cost": _facts,
    "contract": _facts,
    "adapter": _facts,
}
