"""Prompts: files with {{places}}, filled in one pass; untrusted text is quoted line by line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loop.agents.evidence import Evidence, HistoryRow
from loop.agents.facts import facts_of
from loop.agents.levers import weights_route
from loop.agents.settings_file import Tunable

PROMPTS = Path(__file__).parent / "prompts"
MAX_TRAJECTORIES = 30_000
MAX_TRAJECTORY = 4_000
MAX_ITEMS = 60


def render(name: str, values: Mapping[str, str]) -> str:
    """The prompt file `name` with every {{place}} filled. Raises KeyError for a place without a value.

    Values are not looked at again, so that braces inside them stay what they are.
    """
    text = (PROMPTS / f"{name}.md").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda place: values[place.group(1)], text)


def quoted(text: str) -> str:
    """Untrusted text as data: every line starts with "| ", and nothing in it can end the block.

    Control, zero-width and direction characters are shown as escapes.
    """
    lines = text.splitlines() or [""]
    return "\n".join("| " + "".join(visible(letter) for letter in line) for line in lines)


def visible(letter: str) -> str:
    """A printable character or tab as it is, any other as its code."""
    return letter if letter.isprintable() or letter == "\t" else f"\\u{ord(letter):04x}"


def system_prompt(role: str) -> str:
    """The standing orders of `meta` or `feedback`."""
    return render(role, {"data_rule": render("data", {}).strip()})


def evidence_prompt(evidence: Evidence) -> str:
    """Everything that an agent may know, as one text."""
    return render(
        "evidence",
        {
            "task": quoted(evidence.task_md),
            "metric": f"{evidence.metric} ({'higher' if evidence.higher_is_better else 'lower'} is better)",
            "generation": str(evidence.generation),
            "score": number(evidence.score_before),
            "levers": ", ".join(sorted(lever.value for lever in evidence.allowed_levers)),
            "budget": budget_text(evidence),
            "weights": weights_route(facts_of(evidence)).reason,
            "failures": ", ".join(f"{kind} {count}" for kind, count in evidence.failures.items())
            or "none counted",
            "settings": "\n".join(setting_line(entry) for entry in evidence.settings.values())
            or "none declared",
            "files": "\n".join(f"- {one_line(path)}" for path in sorted(evidence.harness_files)),
            "history": "\n".join(history_line(row) for row in evidence.history) or "none yet",
            "items": items_text(evidence.items),
            "trajectories": trajectories_text(evidence),
        },
    )


def number(value: float | None) -> str:
    """A score; unknown is said in words."""
    return "not known" if value is None else f"{value:.4g}"


def budget_text(evidence: Evidence) -> str:
    """What is left."""
    left = evidence.budget
    parts = [f"{left.generations} generations"]
    if left.cost_usd is not None:
        parts.append(f"{left.cost_usd:.4f} USD")
    for value, unit in ((left.tokens, "tokens"), (left.wall_s, "seconds")):
        if value is not None:
            parts.append(f"{value:.0f} {unit}")
    return ", ".join(parts)


def setting_line(entry: Tunable) -> str:
    """One tunable."""
    domain = f"one of {list(entry.choices)}" if entry.choices else entry.type
    if not entry.choices and entry.low is not None and entry.high is not None:
        domain = f"{entry.type} from {entry.low} to {entry.high}"
    help_text = f": {one_line(entry.help)}" if entry.help else ""
    return f"- {entry.name} = {entry.value!r} ({domain}){help_text}"


def history_line(row: HistoryRow) -> str:
    """One past generation."""
    tried = json.dumps(dict(row.params), sort_keys=True) if row.params else row.algorithm or "edit"
    verdict = "kept" if row.accepted else "discarded"
    scores = f"{number(row.score_before)} -> {number(row.score)}"
    what = f"{row.generation}: {row.lever.value} [{one_line(tried)}]"
    return f"- {what} {scores}, {verdict}: {one_line(row.reason)}"


def one_line(text: str) -> str:
    """Text of others on one line, escaped and cut."""
    return "".join(visible(letter) for letter in " ".join(text.split()))[:400]


def items_text(items: Mapping[str, float]) -> str:
    """The worst items."""
    worst = sorted(items.items(), key=lambda entry: (entry[1], entry[0]))[:MAX_ITEMS]
    head = f"{len(items)} items; the {len(worst)} with the lowest scores:"
    return quoted("\n".join([head, *(f"{name}: {number(score)}" for name, score in worst)]))


def trajectories_text(evidence: Evidence) -> str:
    """Sampled trajectories as quoted JSON, each cut, until the whole is long enough."""
    blocks: list[str] = []
    used = 0
    for index, trajectory in enumerate(evidence.trajectories, 1):
        text = json.dumps(plain(trajectory), indent=1, sort_keys=True, ensure_ascii=False, default=str)
        cut = f"{text[:MAX_TRAJECTORY]}\n[cut]" if len(text) > MAX_TRAJECTORY else text
        used += len(cut)
        if used > MAX_TRAJECTORIES:
            blocks.append(f"({len(evidence.trajectories) - index + 1} more are not shown)")
            break
        blocks.append(f"Trajectory {index}:\n{quoted(cut)}")
    return "\n\n".join(blocks) or "none"


def plain(value: Any) -> Any:
    """Nested mappings and tuples as JSON has them."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value
