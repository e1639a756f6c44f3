"""The verdicts and the catalogue as tables: for the command, for --json and for docs/attacks.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.attacks.catalogue import Attack, attacks
from tests.attacks.control import Control
from tests.attacks.judge import INFORMATION, NOT_CONTAINED, Verdict

DOCS = Path(__file__).resolve().parents[2] / "docs" / "attacks.md"
BEGIN, END = "<!-- table: python3 manage.py attack --write -->", "<!-- end of the table -->"
HEAD = ("group", "attack", "as", "what it tries", "outcome", "contained", "control", "seconds", "peak MiB")
LONGEST = 60


def summary(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """How many attacks there were, and how many are in each state; one is contained if it was as every worker."""
    states: dict[str, set[str]] = {}
    for verdict in verdicts:
        states.setdefault(verdict.attack.name, set()).add(verdict.contained)
    free = sum(NOT_CONTAINED in found for found in states.values())
    known = sum(found == {INFORMATION} for found in states.values())
    return {
        "attacks": len(states), "contained": len(states) - free - known,
        "information_only": known, "not_contained": free,
    }  # fmt: skip


def last_line(counts: Mapping[str, int]) -> str:
    """The command's last line."""
    held = f"{counts['contained']} contained, {counts['information_only']} information only"
    return f"{counts['attacks']} attacks, {held}, {counts['not_contained']} NOT CONTAINED"


def text(verdicts: Sequence[Verdict], controls: Mapping[str, Control]) -> str:
    """A table for people."""
    rows = [HEAD, *(_row(verdict, controls) for verdict in _ordered(verdicts))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def data(verdicts: Sequence[Verdict], controls: Mapping[str, Control]) -> dict[str, Any]:
    """The same for `--json`."""
    return {**summary(verdicts), "runs": [_object(verdict, controls) for verdict in _ordered(verdicts)]}


def docs_table(catalogue: Iterable[Attack] | None = None) -> str:
    """The catalogue as a Markdown table, between its marks."""
    head = ("attack", "group", "tries", "covers", "as root", "as user", "control")
    rows = [head, ("---",) * len(head), *map(_docs_row, catalogue or attacks().values())]
    return "\n".join([BEGIN, *(f"| {' | '.join(row)} |" for row in rows), END])


def write_docs() -> None:
    """Puts the table into docs/attacks.md."""
    page = DOCS.read_text(encoding="utf-8")
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    DOCS.write_text(f"{before}{docs_table()}{after}", encoding="utf-8")


def _ordered(verdicts: Iterable[Verdict]) -> list[Verdict]:
    places = {name: place for place, name in enumerate(attacks())}
    return sorted(verdicts, key=lambda each: (places[each.attack.name], each.worker))


def _row(verdict: Verdict, controls: Mapping[str, Control]) -> tuple[str, ...]:
    attack, control = verdict.attack, controls.get(verdict.attack.name)
    return (
        attack.group,
        attack.name,
        verdict.worker,
        _short(attack.tries),
        verdict.outcome,
        verdict.contained if verdict.contained != NOT_CONTAINED else NOT_CONTAINED.upper(),
        _short(str(control)) if control else "not run",
        f"{verdict.seconds:.1f}",
        "unknown" if verdict.peak_mib is None else f"{verdict.peak_mib:.0f}",
    )


def _object(verdict: Verdict, controls: Mapping[str, Control]) -> dict[str, Any]:
    attack, control = verdict.attack, controls.get(verdict.attack.name)
    return {
        "group": attack.group,
        "attack": attack.name,
        "tries": attack.tries,
        "worker": verdict.worker,
        "outcome": verdict.outcome,
        "contained": verdict.contained,
        "problems": list(verdict.problems),
        "information": attack.information,
        "control": list(control.achieved) if control else None,
        "seconds": round(verdict.seconds, 2),
        "peak_mib": verdict.peak_mib,
    }


def _short(line: str) -> str:
    return line if len(line) <= LONGEST else line[: LONGEST - 3].rstrip() + "..."


def _docs_row(attack: Attack) -> tuple[str, ...]:
    state = INFORMATION if attack.information else f"contained ({_or(attack)})"
    covers = [f"S{number}" for number in attack.sandbox] + [f"P{number}" for number in attack.peer]
    user = "not run" if attack.needs_gateway else f"not contained: {attack.user}" if attack.user else state
    control = attack.control if attack.works else f"weak: {attack.control}"
    tries = f"{attack.tries} {attack.information}".strip()
    return attack.name, attack.group, tries, " ".join(covers), state, user, control


def _or(attack: Attack) -> str:
    return " or ".join(outcome.value for outcome in attack.outcomes)
