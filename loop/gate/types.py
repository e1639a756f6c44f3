"""What goes into the gate and what comes out. Frozen, plain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

Scores: TypeAlias = Mapping[str, float | None]
"""One trial of one arm: item id to score, None where the result is missing."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the contract asks of a difference: `alpha` is the corrected level, `smallest_gain` in metric units."""

    alpha: float
    smallest_gain: float
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True)
class Guarded:
    """A slice that a candidate may not sacrifice: its gain there must be above -`margin` (metric units)."""

    name: str
    items: frozenset[str]
    margin: float


@dataclass(frozen=True, slots=True)
class Groups:
    """How items belong together, read from trusted data. `clusters` maps every item to its source; empty: none."""

    clusters: Mapping[str, str] | None = None
    slices: tuple[Guarded, ...] = ()


@dataclass(frozen=True, slots=True)
class SliceResult:
    """One guarded slice: `n` items with a result in both arms; `low` and `high` bound its gain with 95 % confidence.

    All three figures are None where too few results are left to say anything.
    """

    name: str
    n: int
    gain: float | None
    low: float | None
    high: float | None
    margin: float

    @property
    def held(self) -> bool:
        """Whether the slice is shown not to lose more than its margin."""
        return self.low is not None and self.low > -self.margin

    def as_json(self) -> dict[str, Any]:
        """The same figures as plain JSON, and whether the slice held."""
        return {**asdict(self), "held": self.held}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A paired result, candidate against incumbent, oriented so that a positive `gain` is an improvement.

    `n` units (items, or clusters) have a result in both arms; wins and losses count them. `low` and `high` bound the
    gain with 95 % confidence; `p` is one-sided. With several binary trials `p` is the larger of `p_trials` (stratified
    CMH) and `p_units` (sign flips of the items' mean differences). `results` counts what was asked of each arm (items
    times trials), `missing_*` what of it is missing.
    """

    n: int
    wins: int
    losses: int
    gain: float
    low: float
    high: float
    p: float
    test: str
    candidate: float
    incumbent: float
    missing_candidate: int
    missing_incumbent: int
    results: int
    trials: int = 1
    unit: str = "item"
    p_trials: float | None = None
    p_units: float | None = None
    slices: tuple[SliceResult, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The same figures as plain JSON."""
        return {**asdict(self), "slices": [each.as_json() for each in self.slices]}


@dataclass(frozen=True, slots=True)
class Ruling:
    """The gate's answer and every sentence that speaks against it."""

    passed: bool
    reasons: tuple[str, ...]
