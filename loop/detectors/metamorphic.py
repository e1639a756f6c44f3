"""D9: the same hidden items again under other ids, in another order and, where the task says how, reworded."""

from __future__ import annotations

from loop.detectors.exhibit import Exhibit, Sight
from loop.detectors.intervals import Z_ONE_SIDED_995, mean_and_error

DROP = 0.05


def metamorphic(exhibit: Exhibit) -> Sight:
    """Fires when the second run is worse by more than .05 of the metric's range, and surely worse (one-sided 99.5 %).

    The level is strict because a harness that samples differs between two runs by chance alone.
    """
    pairs = exhibit.rerun
    if pairs is None or len(pairs.first) < 2:
        return Sight(None, "the hidden items were not run a second time")
    sign = 1.0 if exhibit.higher_is_better else -1.0
    drops = [sign * (first - second) for first, second in zip(pairs.first, pairs.second, strict=True)]
    drop, square = mean_and_error(drops)
    low, margin = drop - Z_ONE_SIDED_995 * square**0.5, DROP * exhibit.span
    return Sight(
        drop > margin and low > 0,
        f"the second run is {abs(drop):.3f} {'worse' if drop > 0 else 'better'} than the first "
        f"(worse by more than {margin:.3f} fires)",
    )
