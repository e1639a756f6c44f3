"""Tests and interval for results that are right or wrong."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054


def mcnemar(wins: int, losses: int) -> float:
    """One-sided exact McNemar: P(Bin(wins + losses, 1/2) >= wins). 1.0 when the arms never differ."""
    from scipy import special  # imported here: it takes long, and most processes never compare

    if wins + losses == 0:
        return 1.0
    return float(special.bdtrc(wins - 1, wins + losses, 0.5))


def binary_interval(n: int, wins: int, losses: int) -> tuple[float, float]:
    """95 % interval of a paired difference of proportions (Agresti and Min: half an item added to each cell)."""
    size = n + 2
    up, down = (wins + 0.5) / size, (losses + 0.5) / size
    spread = Z95 * math.sqrt((up + down - (up - down) ** 2) / size)
    return max(-1.0, up - down - spread), min(1.0, up - down + spread)


def cmh_z(candidate: NDArray[np.float64], incumbent: NDArray[np.float64]) -> float | None:
    """Stratified Cochran-Mantel-Haenszel z, each item a stratum: candidate against incumbent.

    Both arrays are items x trials of 0.0, 1.0 or NaN (missing); a positive z speaks for the candidate.
    z = sum(a - n1 s/N) / sqrt(sum(n1 n0 s (N - s) / (N^2 (N - 1)))) with a successes in n1 candidate trials and s in
    all N. None when no item has both outcomes and both arms, so that nothing can be said.
    """
    n1, n0 = (~np.isnan(candidate)).sum(axis=1), (~np.isnan(incumbent)).sum(axis=1)
    both = (n1 > 0) & (n0 > 0)
    n1, n0 = n1[both].astype(float), n0[both].astype(float)
    a = np.nansum(candidate[both], axis=1)
    s, size = a + np.nansum(incumbent[both], axis=1), n1 + n0
    variance = float((n1 * n0 * s * (size - s) / (size**2 * (size - 1))).sum())
    return float((a - n1 * s / size).sum()) / math.sqrt(variance) if variance > 0 else None


def cmh(candidate: NDArray[np.float64], incumbent: NDArray[np.float64]) -> float:
    """One-sided p of `cmh_z` by the normal distribution; 1.0 when no item has both outcomes.

    It asks whether these very items came out differently: it counts every trial as evidence of its own, and so takes
    a harness that always repeats itself for a sure one. `sign_flip` over the items' means does not.
    """
    z = cmh_z(candidate, incumbent)
    return 1.0 if z is None else math.erfc(z / math.sqrt(2)) / 2
