"""Which accepted version the next generation builds on. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Accepted:
    """One accepted release: its digest, its public-val score and the generation that made it."""

    release: str
    score: float
    generation: int


def best(entries: Sequence[Accepted], higher_is_better: bool = True) -> Accepted:
    """The accepted release with the best score; of equals the oldest. Raises ValueError on an empty archive."""
    if not entries:
        raise ValueError("The archive is empty: no generation has a score yet.")
    sign = -1.0 if higher_is_better else 1.0
    return min(entries, key=lambda entry: (sign * entry.score, entry.generation))
