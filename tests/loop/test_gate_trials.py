"""Several trials, clusters, slices and missing results: against statsmodels, scipy and cases worked by hand."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from loop.gate import (
    Comparison,
    Groups,
    Guarded,
    Rules,
    SliceResult,
    cmh,
    cmh_z,
    compare_trials,
    items_needed,
    mcnemar,
    mean_interval,
    missingness,
    rule,
    sign_flip,
)

RULES = Rules(alpha=0.0025, smallest_gain=0.02)
NONE = Groups()


def table(rows: list[tuple[int, int]], trials: int) -> tuple[np.ndarray, np.ndarray]:
    """Arrays of items x trials with so many successes of (candidate, incumbent) an item."""
    new = [[1.0] * a + [0.0] * (trials - a) for a, _ in rows]
    old = [[1.0] * b + [0.0] * (trials - b) for _, b in rows]
    return np.array(new), np.array(old)


def scores(values: np.ndarray) -> list[dict[str, float | None]]:
    """The trials of one arm from items x trials; NaN is a missing result."""
    return [
        {f"i{at:03d}": None if math.isnan(value) else float(value) for at, value in enumerate(column)}
        for column in values.T
    ]


def random_arms(
    seed: int, items: int = 40, trials: int = 4, gain: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Two arms of binary trials; the candidate's chance is `gain` higher on every item."""
    rng = np.random.default_rng(seed)
    chance = rng.uniform(0.1, 0.7, (items, 1))
    return (
        (rng.random((items, trials)) < chance + gain).astype(float),
        (rng.random((items, trials)) < chance).astype(float),
    )


@pytest.mark.parametrize("seed", range(5))
def test_cmh_is_the_stratified_mantel_haenszel_test_of_statsmodels(seed: int) -> None:
    from statsmodels.stats.contingency_tables import StratifiedTable

    new, old = random_arms(seed, gain=0.1)
    tables = [
        np.array([[a.sum(), a.size - a.sum()], [b.sum(), b.size - b.sum()]])
        for a, b in zip(new, old, strict=True)
        if 0 < a.sum() + b.sum() < a.size + b.size
    ]
    oracle = StratifiedTable(tables).test_null_odds(correction=False)
    z = cmh_z(new, old)
    assert z is not None
    assert z**2 == pytest.approx(float(oracle.statistic), rel=1e-9)
    assert min(cmh(new, old), cmh(old, new)) == pytest.approx(float(oracle.pvalue) / 2, rel=1e-9)


def test_cmh_of_a_case_worked_by_hand() -> None:
    """Two items, two trials: 2 against 0 and 1 against 1. E(a) = 1 each, Var = 1/3 each: z = 1 / sqrt(2/3)."""
    new, old = table([(2, 0), (1, 1)], trials=2)
    assert cmh_z(new, old) == pytest.approx(1 / math.sqrt(2 / 3))


def test_cmh_with_missing_trials_worked_by_hand() -> None:
    """Candidate 1 of 1, incumbent 0 of 2: n1 = 1, n0 = 2, s = 1, N = 3; E(a) = 1/3, Var = 2/9."""
    new, old = np.array([[1.0, np.nan]]), np.array([[0.0, 0.0]])
    assert cmh_z(new, old) == pytest.approx((1 - 1 / 3) / math.sqrt(2 / 9))


def test_cmh_of_one_trial_is_mcnemar_without_its_exactness() -> None:
    new, old = table([(1, 0)] * 60 + [(0, 1)] * 30 + [(1, 1)] * 50, trials=1)
    assert cmh_z(new, old) == pytest.approx((60 - 30) / math.sqrt(90))
    assert cmh(new, old) == pytest.approx(mcnemar(60, 30), rel=0.25)


def test_items_without_both_outcomes_say_nothing() -> None:
    assert cmh_z(*table([(3, 3), (0, 0)], trials=3)) is None
    assert cmh(*table([(3, 3), (0, 0)], trials=3)) == 1.0


def test_a_gain_in_every_trial_passes() -> None:
    new, old = random_arms(11, items=150, trials=3, gain=0.2)
    result = compare_trials(scores(new), scores(old), RULES, NONE)
    assert (result.n, result.trials, result.results) == (150, 3, 450)
    assert result.p_trials is not None
    assert result.p_units is not None
    assert result.p == max(result.p_trials, result.p_units)
    assert result.gain == pytest.approx(new.mean() - old.mean())
    assert result.low < result.gain < result.high
    assert rule(result, RULES).passed


def test_trials_that_repeat_each_other_are_no_further_evidence() -> None:
    """Twelve items won and six lost are luck, however often a harness that never varies is run on them."""
    new, old = table([(5, 0)] * 12 + [(0, 5)] * 6 + [(5, 5)] * 82, trials=5)
    assert cmh(new, old) < RULES.alpha
    result = compare_trials(scores(new), scores(old), RULES, NONE)
    assert result.p == pytest.approx(mcnemar(12, 6), abs=0.02)
    assert not rule(result, RULES).passed


def test_one_trial_over_trials_is_the_plain_comparison() -> None:
    new, old = random_arms(2, trials=1)
    result = compare_trials(scores(new), scores(old), RULES, NONE)
    assert result.test == "exact McNemar"
    assert result.p == mcnemar(result.wins, result.losses)


def test_arms_with_different_numbers_of_trials_are_refused() -> None:
    new, old = random_arms(3)
    with pytest.raises(ValueError, match="same number of trials"):
        compare_trials(scores(new)[:2], scores(old), RULES, NONE)


def test_for_a_metric_to_be_minimised_trials_count_the_other_way() -> None:
    new, old = random_arms(4, items=120, gain=0.25)
    down = Rules(0.0025, 0.02, higher_is_better=False)
    assert compare_trials(scores(old), scores(new), down, NONE).p < 0.0025
    assert compare_trials(scores(new), scores(old), down, NONE).p > 0.5


def test_the_interval_over_items_agrees_with_scipy_and_covers() -> None:
    from scipy import stats

    rng = np.random.default_rng(8)
    covered = 0
    for seed in range(60):
        differences = rng.normal(0.1, 0.4, 50)
        low, high = mean_interval(differences, seed)
        covered += low <= 0.1 <= high
    assert covered >= 52
    oracle = stats.bootstrap(
        (differences,), np.mean, n_resamples=4000, method="BCa", rng=np.random.default_rng(59)
    ).confidence_interval
    assert (low, high) == pytest.approx((oracle.low, oracle.high))


def test_in_clusters_each_source_counts_once() -> None:
    """One source with 90 items that all improve is one unit, not ninety."""
    new, old = table([(1, 0)] * 90 + [(0, 0)] * 10, trials=1)
    clusters = {f"i{at:03d}": "big" if at < 90 else f"small {at}" for at in range(100)}
    plain = compare_trials(scores(new), scores(old), RULES, NONE)
    clustered = compare_trials(scores(new), scores(old), RULES, Groups(clusters))
    assert rule(plain, RULES).passed
    assert (clustered.n, clustered.wins, clustered.unit) == (11, 1, "cluster")
    assert clustered.gain == pytest.approx(1 / 11)
    assert clustered.p > 0.4
    assert not rule(clustered, RULES).passed


def sliced(new: np.ndarray, old: np.ndarray, size: int, margin: float = 0.1) -> Comparison:
    """A comparison that guards the first `size` items as the slice `part=a`."""
    items = frozenset(f"i{at:03d}" for at in range(size))
    return compare_trials(scores(new), scores(old), RULES, Groups(None, (Guarded("part=a", items, margin),)))


def test_a_gain_that_sacrifices_a_guarded_slice_does_not_pass() -> None:
    new, old = table([(0, 1)] * 12 + [(1, 1)] * 28 + [(1, 0)] * 80 + [(1, 1)] * 80, trials=1)
    assert rule(compare_trials(scores(new), scores(old), RULES, NONE), RULES).passed
    result = sliced(new, old, 40)
    ruling = rule(result, RULES)
    assert result.slices[0].gain == pytest.approx(-0.3)
    assert not result.slices[0].held
    assert len(ruling.reasons) == 1
    assert ruling.reasons[0].startswith("The slice part=a may lose 0.4")
    assert ruling.reasons[0].endswith("(40 units), more than the 0.100 that the contract allows.")


def test_a_gain_that_keeps_its_slices_passes() -> None:
    new, old = table([(1, 0)] * 12 + [(1, 1)] * 28 + [(1, 0)] * 80 + [(1, 1)] * 80, trials=1)
    result = sliced(new, old, 40)
    assert result.slices[0].held
    assert result.as_json()["slices"][0]["held"] is True
    assert rule(result, RULES).passed


def test_a_slice_with_too_few_results_is_not_held() -> None:
    new, old = table([(1, 0)] * 90 + [(1, 1)] * 110, trials=1)
    new[:40] = np.nan
    old[:40] = np.nan
    ruling = rule(sliced(new, old, 45), RULES)
    assert ruling.reasons == (
        "The slice part=a has 5 results in both arms, too few to show that it does not lose.",
    )


def test_slices_of_several_trials_and_minimised_metrics_are_oriented() -> None:
    new, old = random_arms(5, items=60, gain=0.3)
    down = Rules(0.0025, 0.0, higher_is_better=False)
    groups = Groups(None, (Guarded("part=a", frozenset(f"i{at:03d}" for at in range(30)), 0.1),))
    assert not compare_trials(scores(new), scores(old), down, groups).slices[0].held
    assert compare_trials(scores(old), scores(new), down, groups).slices[0].held


@pytest.mark.parametrize(
    ("new", "old", "total", "blocks"),
    [
        (0, 0, 400, False),
        (8, 0, 400, True),  # exactly two points, but Fisher p = .0075
        (5, 0, 400, False),  # Fisher p = .06
        (6, 0, 400, True),  # 1.5 points, Fisher p = .031
        (3, 0, 100, True),  # three points
        (2, 0, 100, False),  # two points are not more than two
        (30, 25, 400, False),
        (0, 9, 400, True),  # the incumbent's own losses count as well
    ],
)
def test_missingness_blocks_above_two_points_or_by_fisher(
    new: int, old: int, total: int, blocks: bool
) -> None:
    from scipy import stats

    result = Comparison(
        n=1, wins=0, losses=0, gain=0, low=0, high=0, p=1, test="", candidate=0, incumbent=0,
        missing_candidate=new, missing_incumbent=old, results=total,
    )  # fmt: skip
    fisher = stats.fisher_exact([[new, total - new], [old, total - old]]).pvalue
    assert blocks == (abs(new - old) / total > 0.02 or fisher < 0.05)
    assert bool(missingness(result)) is blocks


def test_a_figure_that_is_no_number_speaks_against_the_candidate() -> None:
    new, old = table([(1, 0)] * 90 + [(1, 1)] * 110, trials=1)
    sound = compare_trials(scores(new), scores(old), RULES, NONE)
    assert rule(sound, RULES).passed
    assert not rule(replace(sound, p=math.nan), RULES).passed
    assert not rule(replace(sound, low=math.nan), RULES).passed


def test_missing_results_that_do_not_overlap_are_counted_of_all_that_was_asked() -> None:
    new, old = table([(1, 1)] * 100, trials=1)
    new[:2] = np.nan
    old[2:4] = np.nan
    result = compare_trials(scores(new), scores(old), RULES, NONE)
    assert (result.n, result.results, result.missing_candidate, result.missing_incumbent) == (96, 100, 2, 2)


def test_an_item_with_one_missing_trial_still_counts() -> None:
    new, old = random_arms(6, items=50)
    new[0, 0] = np.nan
    result = compare_trials(scores(new), scores(old), RULES, NONE)
    assert (result.n, result.missing_candidate) == (50, 1)


def test_under_no_gain_the_sign_flip_p_is_below_its_level_no_more_often_than_its_level() -> None:
    """All sign patterns of eight differences: each is as likely as any other when there is no gain."""
    sizes = np.array([0.1, 0.2, 0.3, 0.5, 0.7, 1.1, 1.3, 1.9])
    ps = [
        sign_flip(sizes * np.array(signs), 400, seed)
        for seed, signs in enumerate(itertools.product((-1, 1), repeat=8))
    ]
    for level in (0.01, 0.05, 0.1, 0.25, 0.5):
        assert np.mean(np.array(ps) <= level) <= level + 0.012  # draws of 400 err by about 1.1 points at .05


def test_under_no_gain_mcnemar_is_below_its_level_no_more_often_than_its_level() -> None:
    for discordant in range(1, 15):
        for level in (0.01, 0.05, 0.2):
            size = sum(
                math.comb(discordant, wins) / 2**discordant
                for wins in range(discordant + 1)
                if mcnemar(wins, discordant - wins) <= level
            )
            assert size <= level


@pytest.mark.parametrize(
    ("gain", "low", "held"),
    [(0.1, -0.05, True), (0.1, -0.1, False), (0.1, -0.2, False), (-0.02, -0.09, True), (None, None, False)],
)
def test_a_slice_is_held_when_its_lower_end_lies_above_minus_its_margin(
    gain: float | None, low: float | None, held: bool
) -> None:
    high = None if low is None else 0.3
    assert SliceResult("s", 40, gain, low, high, margin=0.1).held is held


def test_the_sign_flip_p_is_never_zero() -> None:
    assert sign_flip(np.full(40, 0.3), 99, 1) == pytest.approx(1 / 100)


def test_differences_that_are_equal_but_for_rounding_have_a_point_as_interval() -> None:
    low, high = mean_interval(np.array([0.1 + 0.2, 0.3, 0.3]), 0)
    assert low == high == pytest.approx(0.3)


def test_where_the_interval_asks_for_more_items_than_the_level_it_decides() -> None:
    from scipy import stats

    spread = math.sqrt(0.3 - 0.1**2)
    by_interval = math.ceil(((1.959964 + stats.norm.ppf(0.8)) * spread / (0.1 - 0.02)) ** 2)
    assert items_needed(0.1, 0.3, 0.05, smallest_gain=0.02) == by_interval
