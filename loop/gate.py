"""Whether a difference is real. Pure: frozen inputs, a returned value, no clock, no query.

Unit is the item. Both arms were run with the same seeds on the same items; a missing result is None and is
left out of both arms, and blocks when missingness itself differs between the arms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

MISSING_GAP = 0.02
Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Rules:
    """What the contract asks of a difference: `alpha` is the corrected level, `smallest_gain` in metric units."""

    alpha: float
    smallest_gain: float
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True)
class Comparison:
    """A paired result, candidate against incumbent, oriented so that a positive `gain` is an improvement.

    wins and losses count items; `low` and `high` bound the gain with 95 % confidence; `p` is one-sided.
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

    def as_json(self) -> dict[str, Any]:
        """The same figures as plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Ruling:
    """The gate's answer and every sentence that speaks against it."""

    passed: bool
    reasons: tuple[str, ...]


def corrected_alpha(alpha: float, queries: int, promotions: int) -> float:
    """The level for one hidden query when `queries` may be asked and `promotions` made in a campaign.

    Union bound over the timings of promotions when one bit is released a query: alpha / sum_j C(k, j).
    Raises ValueError unless 0 < alpha < 1 and 1 <= promotions <= queries.
    """
    if not 0 < alpha < 1 or not 1 <= promotions <= queries:
        raise ValueError(
            f"alpha={alpha}, queries={queries}, promotions={promotions} is not a usable contract."
        )
    return alpha / sum(math.comb(queries, taken) for taken in range(1, promotions + 1))


def mcnemar(wins: int, losses: int) -> float:
    """One-sided exact McNemar: P(Bin(wins + losses, 1/2) >= wins). 1.0 when the arms never differ."""
    if wins + losses == 0:
        return 1.0
    return float(stats.binom.sf(wins - 1, wins + losses, 0.5))


def binary_interval(n: int, wins: int, losses: int) -> tuple[float, float]:
    """95 % interval of a paired difference of proportions (Agresti and Min: half an item added to each cell)."""
    size = n + 2
    up, down = (wins + 0.5) / size, (losses + 0.5) / size
    spread = Z95 * math.sqrt((up + down - (up - down) ** 2) / size)
    return max(-1.0, up - down - spread), min(1.0, up - down + spread)


def sign_flip(differences: np.ndarray, draws: int, seed: int) -> float:
    """One-sided sign-flip permutation p of the mean difference: (1 + #{T* >= T}) / (1 + draws)."""
    rng = np.random.default_rng(seed)
    observed = differences.sum() - 1e-12
    hits = 0
    for start in range(0, draws, 1000):
        signs = rng.choice((-1.0, 1.0), size=(min(1000, draws - start), differences.size))
        hits += int((signs @ differences >= observed).sum())
    return (1 + hits) / (1 + draws)


def real_interval(differences: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % BCa bootstrap interval of the mean paired difference; the point itself when all items agree."""
    if float(np.ptp(differences)) == 0.0:
        point = float(differences.mean())
        return point, point
    found = stats.bootstrap(
        (differences,), np.mean, n_resamples=4000, method="BCa", rng=np.random.default_rng(seed)
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def compare(
    candidate: Mapping[str, float | None], incumbent: Mapping[str, float | None], rules: Rules, seed: int = 0
) -> Comparison:
    """Pair two arms item by item. Raises ValueError when the arms do not cover the same items, or share none.

    Items scored only 0 and 1 are compared by exact McNemar, others by sign-flip permutation.
    """
    if set(candidate) != set(incumbent):
        raise ValueError("The two arms were not run on the same items; run both again on one split.")
    shared = [key for key in sorted(candidate) if candidate[key] is not None and incumbent[key] is not None]
    if not shared:
        raise ValueError("No item has a result in both arms; there is nothing to compare.")
    new = np.array([candidate[key] for key in shared], dtype=float)
    old = np.array([incumbent[key] for key in shared], dtype=float)
    differences = (new - old) if rules.higher_is_better else (old - new)
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    if set(np.unique(new)) | set(np.unique(old)) <= {0.0, 1.0}:
        test, p = "exact McNemar", mcnemar(wins, losses)
        low, high = binary_interval(len(shared), wins, losses)
    else:
        test, p = "sign-flip permutation", sign_flip(differences, math.ceil(10 / rules.alpha), seed)
        low, high = real_interval(differences, seed)
    return Comparison(
        n=len(shared),
        wins=wins,
        losses=losses,
        gain=float(differences.mean()),
        low=low,
        high=high,
        p=p,
        test=test,
        candidate=float(new.mean()),
        incumbent=float(old.mean()),
        missing_candidate=sum(value is None for value in candidate.values()),
        missing_incumbent=sum(value is None for value in incumbent.values()),
    )


def rule(comparison: Comparison, rules: Rules) -> Ruling:
    """Whether a paired hidden result is worth a promotion, with every reason against it."""
    reasons: list[str] = []
    if comparison.p > rules.alpha:
        reasons.append(f"p = {comparison.p:.2g} is above the level {rules.alpha:.2g} that the contract sets.")
    if comparison.low < rules.smallest_gain:
        reasons.append(
            f"The gain may be as small as {comparison.low:+.3f}, below the smallest worth having "
            f"({rules.smallest_gain:+.3f})."
        )
    if missing := missingness(comparison):
        reasons.append(missing)
    return Ruling(not reasons, tuple(reasons))


def missingness(comparison: Comparison) -> str:
    """Why missing results block, or an empty string: shares differ by over 2 points, or Fisher p < .05."""
    total = comparison.n + max(comparison.missing_candidate, comparison.missing_incumbent)
    new, old = comparison.missing_candidate, comparison.missing_incumbent
    if new == old:
        return ""
    fisher = float(stats.fisher_exact([[new, total - new], [old, total - old]]).pvalue)
    if abs(new - old) / total > MISSING_GAP or fisher < 0.05:
        return f"{new} results are missing in the candidate and {old} in the live release; the arms cannot be compared."
    return ""


def keeps(comparison: Comparison) -> tuple[bool, str]:
    """The public-val rule (Ladder, parameter-free): better than the parent by more than one paired standard error."""
    error = (comparison.high - comparison.low) / (2 * Z95)
    place = "above" if comparison.gain > error else "within" if comparison.gain >= -error else "below"
    words = f"{comparison.gain:+.3f} on {comparison.n} items, {place} one standard error ({error:.3f})"
    return comparison.gain > error, words


def items_needed(gain: float, discordance: float, alpha: float, power: float = 0.8) -> int:
    """How many hidden items show a true `gain` with `power` at level `alpha` (normal approximation).

    Raises ValueError unless 0 < gain <= discordance <= 1.
    """
    if not 0 < gain <= discordance <= 1:
        raise ValueError(f"A gain of {gain} is impossible at a discordance of {discordance}.")
    z_alpha, z_power = stats.norm.isf(alpha), stats.norm.ppf(power)
    spread = z_alpha * math.sqrt(discordance) + z_power * math.sqrt(discordance - gain**2)
    return math.ceil((spread / gain) ** 2)


def smallest_visible_gain(n: int, discordance: float, alpha: float) -> float | None:
    """The smallest true gain, in steps of half a point, that `n` items can show; None when there is none."""
    for half_points in range(1, int(discordance * 200) + 1):
        if items_needed(half_points / 200, discordance, alpha) <= n:
            return half_points / 200
    return None
