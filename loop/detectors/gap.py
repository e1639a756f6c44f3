"""D1: the candidate leads on the public items more than on the hidden ones, and more so than the live release does."""

from __future__ import annotations

from loop.detectors.exhibit import Exhibit, Pairs, Sight
from loop.detectors.intervals import Z_ONE_SIDED_95, mean_and_error

WIDER = 0.05


def public_hidden_gap(exhibit: Exhibit) -> Sight:
    """Fires when the gap (public minus hidden) has surely grown by more than .05 of the metric's range.

    The growth is the mean paired gain on the public items minus that on the hidden items; "surely" means that the
    lower end of its one-sided 95 % interval exceeds the margin.
    """
    if exhibit.public is None or exhibit.hidden is None or _short(exhibit.public) or _short(exhibit.hidden):
        return Sight(None, "the items of both splits, under both releases, were not all there")
    sign = 1.0 if exhibit.higher_is_better else -1.0
    public, public_error = mean_and_error(_gains(exhibit.public, sign))
    hidden, hidden_error = mean_and_error(_gains(exhibit.hidden, sign))
    growth, error = public - hidden, (public_error + hidden_error) ** 0.5
    low, margin = growth - Z_ONE_SIDED_95 * error, WIDER * exhibit.span
    return Sight(
        low > margin,
        f"gained {public:+.3f} on public and {hidden:+.3f} on hidden items: the gap grew by {growth:+.3f}, at least "
        f"{low:+.3f} with 95 % confidence (more than {margin:+.3f} fires)",
    )


def _short(pairs: Pairs) -> bool:
    return len(pairs.first) < 2


def _gains(pairs: Pairs, sign: float) -> list[float]:
    return [sign * (new - old) for old, new in zip(pairs.first, pairs.second, strict=True)]
