"""The gate against scipy as an oracle, and its rules one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loop.gate import (
    Rules,
    compare,
    corrected_alpha,
    items_needed,
    keeps,
    mcnemar,
    missingness,
    rule,
    sign_flip,
    smallest_visible_gain,
)

RULES = Rules(alpha=0.0025, smallest_gain=0.02)


def arms(wins: int, losses: int, ties: int) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Two arms over wins + losses + ties items, candidate first."""
    new = [1.0] * wins + [0.0] * losses + [1.0] * ties
    old = [0.0] * wins + [1.0] * losses + [1.0] * ties
    names = [f"i{number}" for number in range(len(new))]
    return dict(zip(names, new, strict=True)), dict(zip(names, old, strict=True))


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_one_sided_binomial_test(wins: int, losses: int) -> None:
    from scipy import stats

    expected = 1.0
    if wins + losses:
        expected = stats.binomtest(wins, wins + losses, 0.5, alternative="greater").pvalue
    assert mcnemar(wins, losses) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("promotions", "level"), [(1, 0.0025), (2, 2.4e-4), (3, 3.7e-5)])
def test_twenty_queries_cost_what_the_union_bound_says(promotions: int, level: float) -> None:
    assert corrected_alpha(0.05, 20, promotions) == pytest.approx(level, rel=0.02)


@pytest.mark.parametrize(("alpha", "queries", "promotions"), [(0.0, 5, 1), (0.05, 0, 1), (0.05, 2, 3)])
def test_an_impossible_contract_is_refused(alpha: float, queries: int, promotions: int) -> None:
    with pytest.raises(ValueError, match="not a usable contract"):
        corrected_alpha(alpha, queries, promotions)


def test_a_large_gain_passes() -> None:
    result = compare(*arms(70, 10, 200), RULES)
    assert (result.n, result.wins, result.losses, result.test) == (280, 70, 10, "exact McNemar")
    assert result.gain == pytest.approx(60 / 280)
    assert result.low < result.gain < result.high
    assert rule(result, RULES).passed


def test_a_gain_that_could_be_luck_does_not_pass_and_says_why() -> None:
    ruling = rule(compare(*arms(12, 8, 80), RULES), RULES)
    assert not ruling.passed
    assert "is above the level" in ruling.reasons[0]
    assert "below the smallest worth having" in ruling.reasons[1]


def test_a_gain_below_the_smallest_worth_having_does_not_pass_however_sure() -> None:
    result = compare(*arms(40, 2, 9000), RULES)
    ruling = rule(result, RULES)
    assert result.p < RULES.alpha
    assert not ruling.passed
    assert len(ruling.reasons) == 1


def test_for_a_metric_to_be_minimised_fewer_points_are_a_gain() -> None:
    new, old = arms(5, 60, 100)
    result = compare(new, old, Rules(0.0025, 0.02, higher_is_better=False))
    assert result.gain == pytest.approx(55 / 165)
    assert (result.wins, result.losses) == (60, 5)


def test_arms_over_different_items_are_refused() -> None:
    with pytest.raises(ValueError, match="same items"):
        compare({"a": 1.0}, {"b": 1.0}, RULES)


def test_arms_without_a_shared_result_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        compare({"a": None}, {"a": 1.0}, RULES)


def test_missing_results_leave_both_arms_and_block_when_the_arms_differ() -> None:
    new, old = arms(70, 10, 120)
    for name in list(new)[:10]:
        new[name] = None
    result = compare(new, old, RULES)
    assert (result.n, result.missing_candidate, result.missing_incumbent) == (190, 10, 0)
    assert "cannot be compared" in missingness(result)
    assert not rule(result, RULES).passed


def test_equal_missingness_does_not_block() -> None:
    new, old = arms(70, 10, 120)
    for name in list(new)[-3:]:
        new[name] = old[name] = None
    assert missingness(compare(new, old, RULES)) == ""


def test_real_valued_scores_take_the_permutation_test_and_a_bootstrap_interval() -> None:
    rng = np.random.default_rng(1)
    names = [f"i{number}" for number in range(60)]
    old = rng.normal(0.5, 0.1, 60)
    shift = rng.normal(0.05, 0.03, 60)
    result = compare(dict(zip(names, old + shift, strict=True)), dict(zip(names, old, strict=True)), RULES)
    assert result.test == "sign-flip permutation"
    assert result.p < RULES.alpha
    assert result.low < shift.mean() < result.high
    assert rule(result, RULES).passed


def test_sign_flip_agrees_with_scipy() -> None:
    from scipy import stats

    differences = np.random.default_rng(3).normal(0.2, 1.0, 40)

    def gain(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray((a - b).mean(axis=axis))

    oracle = stats.permutation_test(
        (differences, np.zeros(40)),
        gain,
        permutation_type="samples",
        alternative="greater",
        n_resamples=20000,
        rng=np.random.default_rng(5),
        vectorized=True,
    )
    assert sign_flip(differences, 20000, 7) == pytest.approx(oracle.pvalue, abs=0.01)


def test_public_val_keeps_what_is_better_by_more_than_one_standard_error() -> None:
    assert keeps(compare(*arms(40, 10, 200), RULES))[0]
    kept, reason = keeps(compare(*arms(11, 10, 229), RULES))
    assert not kept
    assert "within one standard error" in reason


@pytest.mark.parametrize(
    ("gain", "discordance", "published"),
    [(0.05, 0.2, 1062), (0.10, 0.2, 264), (0.10, 0.3, 397), (0.20, 0.3, 97)],
)
def test_hidden_items_needed_match_the_published_table(
    gain: float, discordance: float, published: int
) -> None:
    assert items_needed(gain, discordance, 0.0025) == pytest.approx(published, rel=0.03)


def test_the_smallest_visible_gain_shrinks_with_more_items_and_may_not_exist() -> None:
    few, many = smallest_visible_gain(100, 0.3, 0.0025), smallest_visible_gain(1000, 0.3, 0.0025)
    assert few is not None
    assert many is not None
    assert many < few
    assert smallest_visible_gain(5, 0.3, 0.0025) is None


def test_a_gain_larger_than_the_discordance_is_impossible() -> None:
    with pytest.raises(ValueError, match="impossible"):
        items_needed(0.4, 0.3, 0.05)
    assert math.isfinite(items_needed(0.3, 0.3, 0.05))
