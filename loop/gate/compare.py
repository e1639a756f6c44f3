"""Pairing two arms: which units count, which test and interval apply, what is missing, how the slices fare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loop.gate.binary import binary_interval, cmh, mcnemar
from loop.gate.real import mean_interval, sign_flip
from loop.gate.types import Comparison, Groups, Guarded, Rules, Scores, SliceResult

SMALLEST_SLICE = 10  # units; with fewer no interval is worth the name
MCNEMAR = "exact McNemar"
SIGN_FLIP = "sign-flip permutation"
CMH = "stratified CMH and sign-flip permutation of item means, the larger p"


@dataclass(frozen=True, slots=True)
class _Arms:
    """The results that both arms share: items x trials, NaN where missing; the name of each row's item."""

    names: tuple[str, ...]
    new: NDArray[np.float64]
    old: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Units:
    """One number a unit and arm, and the units' oriented differences."""

    new: NDArray[np.float64]
    old: NDArray[np.float64]
    differences: NDArray[np.float64]


def planned_test(trials: int, clustered: bool) -> str:
    """The test that `compare_trials` will use, in words, as a contract states it beforehand."""
    if clustered:
        return f"{SIGN_FLIP} of cluster means"
    binary = MCNEMAR if trials == 1 else CMH
    return f"{binary} where all scores are 0 or 1; else {SIGN_FLIP}"


def compare(candidate: Scores, incumbent: Scores, rules: Rules, seed: int = 0) -> Comparison:
    """Pair two arms of one trial item by item; raises ValueError as `compare_trials` does."""
    return compare_trials([candidate], [incumbent], rules, Groups(), seed)


def compare_trials(
    candidate: Sequence[Scores], incumbent: Sequence[Scores], rules: Rules, groups: Groups, seed: int = 0
) -> Comparison:
    """Pair two arms unit by unit over all their trials; every trial of either arm covers the same items.

    Right-or-wrong items of one trial are compared by exact McNemar; of several trials by stratified CMH and, because
    trials of one item are no independent items, by sign flips of the items' mean differences: the larger p counts.
    Other scores, and clusters, take the sign flips alone. Raises ValueError when the arms do not cover the same items
    or share none.
    """
    arms = _paired(candidate, incumbent)
    units = _units(arms, groups, rules)
    draws = math.ceil(10 / rules.alpha)
    p_units = p_trials = None
    binary = _binary(arms) and not groups.clusters
    wins, losses = int((units.differences > 0).sum()), int((units.differences < 0).sum())
    if binary and len(candidate) == 1:
        test, p = MCNEMAR, mcnemar(wins, losses)
    else:
        test, p = SIGN_FLIP, sign_flip(units.differences, draws, seed)
        if binary:
            ahead, behind = (arms.new, arms.old) if rules.higher_is_better else (arms.old, arms.new)
            p_units, p_trials = p, cmh(ahead, behind)
            test, p = CMH, max(p_units, p_trials)
    low, high = _interval(units.differences, exact=test == MCNEMAR, seed=seed)
    asked = [[trial[name] for trial in arm for name in trial] for arm in (candidate, incumbent)]
    return Comparison(
        n=units.differences.size,
        wins=wins,
        losses=losses,
        gain=float(units.differences.mean()),
        low=low,
        high=high,
        p=p,
        test=test,
        candidate=float(units.new.mean()),
        incumbent=float(units.old.mean()),
        missing_candidate=asked[0].count(None),
        missing_incumbent=asked[1].count(None),
        results=len(asked[0]),
        trials=len(candidate),
        unit="cluster" if groups.clusters else "item",
        p_trials=p_trials,
        p_units=p_units,
        slices=tuple(_slice(arms, groups, each, rules, seed) for each in groups.slices),
    )


def _paired(candidate: Sequence[Scores], incumbent: Sequence[Scores]) -> _Arms:
    if len(candidate) != len(incumbent) or not candidate:
        raise ValueError("The two arms were not run in the same number of trials; run both again.")
    items = set(candidate[0])
    if any(set(trial) != items for trial in (*candidate, *incumbent)):
        raise ValueError("The two arms were not run on the same items; run both again on one split.")
    names = sorted(items)
    new, old = (
        np.array([[trial[name] for trial in arm] for name in names], dtype=float).reshape(len(names), -1)
        for arm in (candidate, incumbent)
    )
    shared = ~np.isnan(new).all(axis=1) & ~np.isnan(old).all(axis=1)
    if not shared.any():
        raise ValueError("No item has a result in both arms; there is nothing to compare.")
    kept = tuple(name for name, keep in zip(names, shared, strict=True) if keep)
    return _Arms(kept, new[shared], old[shared])


def _binary(arms: _Arms) -> bool:
    values = np.concatenate([arms.new.ravel(), arms.old.ravel()])
    return bool(np.isin(values[~np.isnan(values)], (0.0, 1.0)).all())


def _units(arms: _Arms, groups: Groups, rules: Rules) -> _Units:
    """Means over an item's trials, then over a cluster's items."""
    new, old = np.nanmean(arms.new, axis=1), np.nanmean(arms.old, axis=1)
    if groups.clusters:
        _, place = np.unique([groups.clusters[name] for name in arms.names], return_inverse=True)
        size = np.bincount(place)
        new, old = (np.bincount(place, weights=values) / size for values in (new, old))
    return _Units(new, old, (new - old) if rules.higher_is_better else (old - new))


def _interval(differences: NDArray[np.float64], *, exact: bool, seed: int) -> tuple[float, float]:
    """Agresti-Min for right-or-wrong pairs (`exact`), else the BCa bootstrap over units."""
    if exact:
        return binary_interval(differences.size, int((differences > 0).sum()), int((differences < 0).sum()))
    return mean_interval(differences, seed)


def _slice(arms: _Arms, groups: Groups, guarded: Guarded, rules: Rules, seed: int) -> SliceResult:
    inside = np.array([name in guarded.items for name in arms.names])
    part = _Arms(
        tuple(name for name, keep in zip(arms.names, inside, strict=True) if keep),
        arms.new[inside],
        arms.old[inside],
    )
    units = _units(part, groups, rules)
    n = units.differences.size
    if n < SMALLEST_SLICE:
        return SliceResult(guarded.name, n, None, None, None, guarded.margin)
    exact = _binary(arms) and not groups.clusters and arms.new.shape[1] == 1
    low, high = _interval(units.differences, exact=exact, seed=seed)
    return SliceResult(guarded.name, n, float(units.differences.mean()), low, high, guarded.margin)
