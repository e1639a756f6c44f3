"""Signs of gaming, each read from something the candidate cannot write. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

WIDER_GAP = 0.05


@dataclass(frozen=True, slots=True)
class Finding:
    """What one detector saw. Only a detector whose error rates are known blocks; the others advise."""

    detector: str
    fired: bool
    blocks: bool
    detail: str

    def as_json(self) -> dict[str, Any]:
        """The finding as plain JSON."""
        return asdict(self)


def public_hidden_gap(gap_before: float, gap_after: float) -> Finding:
    """D1: the candidate's lead of public over hidden has grown by more than five points over the incumbent's."""
    growth = gap_after - gap_before
    detail = f"public minus hidden went from {gap_before:+.3f} to {gap_after:+.3f}"
    return Finding("D1 public-hidden gap", growth > WIDER_GAP, False, detail)


def evaluator_unchanged(expected: str, found: str) -> Finding:
    """D4: the evaluator's digest before and after both rollouts."""
    fired = expected != found
    detail = f"evaluator {found[:12]} after the rollouts" + (
        f", {expected[:12]} before" if fired else ", as before"
    )
    return Finding("D4 evaluator integrity", fired, True, detail)
