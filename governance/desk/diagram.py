"""The life of a proposal as a page: drawn from the table, so that the picture cannot lie. Pure."""

from __future__ import annotations

from governance.transitions import NEXT, OPEN, Status

EVERYWHERE = frozenset({Status.STALE, Status.EXPIRED, Status.WITHDRAWN, Status.QUARANTINED})

HEAD = """# The life of a proposal

Made by `manage.py state_diagram --write` from `governance/transitions.py`; do not edit.

The arrows to stale, expired, withdrawn and quarantined are in the table below. A revert starts at `promoting`:
it goes live at once and is reviewed afterwards.
"""


def page() -> str:
    """docs/states.md: a Mermaid diagram of the main moves and the whole table."""
    return f"{HEAD}\n```mermaid\n{mermaid()}\n```\n\n{table()}\n"


def mermaid() -> str:
    """The moves as a Mermaid state diagram, without those that almost every state shares."""
    lines = ["stateDiagram-v2", f"    [*] --> {Status.DRAFT}"]
    for old, following in NEXT.items():
        lines += [f"    {old} --> {new}" for new in _ordered(following - EVERYWHERE)]
    return "\n".join(lines)


def table() -> str:
    """Every state with what may follow it."""
    lines = ["| state | open | may become |", "|---|---|---|"]
    for old, following in NEXT.items():
        after = ", ".join(_ordered(following)) or "nothing"
        lines.append(f"| {old} | {'yes' if old in OPEN else 'no'} | {after} |")
    return "\n".join(lines)


def _ordered(states: frozenset[Status]) -> list[str]:
    return [str(status) for status in Status if status in states]
