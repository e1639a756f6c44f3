"""Test and interval for paired differences of any size: scores, means over trials, means over clusters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4000
BLOCK = 2_000_000  # numbers held at once


def sign_flip(differences: NDArray[np.float64], draws: int, seed: int) -> float:
    """One-sided sign-flip permutation p of the mean difference: (1 + #{T* >= T}) / (1 + draws).

    Valid when the differences are symmetric about zero under "no gain", as they are for exchangeable arms.
    """
    rng = np.random.default_rng(seed)
    total = float(differences.sum())
    # T* = 2 (sum of the differences that keep their sign) - total; rounding must not lose a tie.
    bar = total - 1e-12 * float(np.abs(differences).sum())
    rows = max(1, BLOCK // differences.size)
    hits = 0
    for start in range(0, draws, rows):
        kept = rng.integers(0, 2, size=(min(rows, draws - start), differences.size), dtype=np.int8)
        hits += int((2.0 * (kept @ differences) - total >= bar).sum())
    return (1 + hits) / (1 + draws)


def mean_interval(differences: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """95 % BCa bootstrap interval of the mean of paired differences; the point itself when all are equal."""
    if float(np.ptp(differences)) <= 1e-12 * float(np.abs(differences).max()):
        point = float(differences.mean())
        return point, point
    from scipy import stats  # imported here: it costs a second, and most processes never compare

    found = stats.bootstrap(
        (differences,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, BLOCK // differences.size),
        method="BCa",
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
