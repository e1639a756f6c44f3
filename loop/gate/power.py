"""What a hidden set can show, said before a campaign starts. For right-or-wrong items, one trial each."""

from __future__ import annotations

import math
from statistics import NormalDist

from loop.gate.binary import Z95


def items_needed(
    gain: float, discordance: float, alpha: float, power: float = 0.8, smallest_gain: float = 0.0
) -> int:
    """How many hidden items let a true `gain` pass with `power` (normal approximation).

    `discordance` is the share of items on which the arms differ. To pass, p must reach `alpha` and the 95 % interval's
    lower end `smallest_gain`; guarded slices ask for more and are not counted here. Raises ValueError unless
    smallest_gain < gain <= discordance <= 1 and gain > 0.
    """
    if not (0 < gain <= discordance <= 1 and smallest_gain < gain):
        raise ValueError(
            f"A gain of {gain} is impossible at a discordance of {discordance} and above {smallest_gain}."
        )
    z_alpha, z_power = -NormalDist().inv_cdf(alpha), NormalDist().inv_cdf(power)
    spread = math.sqrt(discordance - gain**2)
    for_level = (z_alpha * math.sqrt(discordance) + z_power * spread) / gain
    for_interval = (Z95 + z_power) * spread / (gain - smallest_gain)
    return math.ceil(max(for_level, for_interval) ** 2)


def smallest_visible_gain(
    n: int, discordance: float, alpha: float, smallest_gain: float = 0.0
) -> float | None:
    """The smallest true gain, in steps of half a point, that `n` items can show; None when there is none."""
    for half_points in range(1, int(discordance * 200) + 1):
        gain = half_points / 200
        if gain > smallest_gain and items_needed(gain, discordance, alpha, smallest_gain=smallest_gain) <= n:
            return gain
    return None
