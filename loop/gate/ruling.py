"""What is concluded from a comparison: the gate's ruling on hidden data, and the keep rule on public-val."""

from __future__ import annotations

from loop.gate.binary import Z95
from loop.gate.types import Comparison, Rules, Ruling, SliceResult

MISSING_GAP = 0.02
FISHER_LEVEL = 0.05


def rule(comparison: Comparison, rules: Rules) -> Ruling:
    """Whether a paired hidden result is worth a promotion, with every reason against it. NaN speaks against it."""
    reasons: list[str] = []
    if not comparison.p <= rules.alpha:
        reasons.append(f"p = {comparison.p:.2g} is above the level {rules.alpha:.2g} that the contract sets.")
    if not comparison.low >= rules.smallest_gain:
        reasons.append(
            f"The gain may be as small as {comparison.low:+.3f}, below the smallest worth having "
            f"({rules.smallest_gain:+.3f})."
        )
    reasons += [_lost(each) for each in comparison.slices if not each.held]
    if missing := missingness(comparison):
        reasons.append(missing)
    return Ruling(not reasons, tuple(reasons))


def missingness(comparison: Comparison) -> str:
    """Why missing results block, or an empty string: shares differ by over 2 points, or Fisher p < .05."""
    total, new, old = comparison.results, comparison.missing_candidate, comparison.missing_incumbent
    if new == old:
        return ""
    from scipy import stats  # imported here: it costs a second, and results are seldom missing

    fisher = float(stats.fisher_exact([[new, total - new], [old, total - old]]).pvalue)
    if abs(new - old) / total > MISSING_GAP or fisher < FISHER_LEVEL:
        return (
            f"{new} of {total} results are missing in the candidate and {old} in the live release; "
            "the arms cannot be compared."
        )
    return ""


def keeps(comparison: Comparison) -> tuple[bool, str]:
    """The public-val rule (Ladder, parameter-free): better than the parent by more than one paired standard error."""
    error = (comparison.high - comparison.low) / (2 * Z95)
    place = "above" if comparison.gain > error else "within" if comparison.gain >= -error else "below"
    words = f"{comparison.gain:+.3f} on {comparison.n} items, {place} one standard error ({error:.3f})"
    return comparison.gain > error, words


def _lost(part: SliceResult) -> str:
    if part.low is None:
        return (
            f"The slice {part.name} has {part.n} results in both arms, too few to show that it does not lose."
        )
    return (
        f"The slice {part.name} may lose {-part.low:.3f} ({part.n} units), more than the {part.margin:.3f} "
        "that the contract allows."
    )
