"""Small statistics that several detectors share. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, variance

Z_ONE_SIDED_95 = 1.6448536269514722
Z_ONE_SIDED_995 = 2.5758293035489004
Z_TWO_SIDED_95 = 1.959963984540054


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and squared standard error of at least two values."""
    return fmean(values), variance(values) / len(values)


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a proportion; (0, 1) when nothing was counted."""
    if of == 0:
        return 0.0, 1.0
    z2 = Z_TWO_SIDED_95**2
    share, size = hits / of, 1 + z2 / of
    centre = (share + z2 / (2 * of)) / size
    spread = Z_TWO_SIDED_95 / size * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    return max(0.0, centre - spread), min(1.0, centre + spread)
