"""What must hold of the gate for whatever two arms: by hypothesis."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loop.contract import Budgets, Contract, query_level, trial_seeds
from loop.errors import TaskError
from loop.gate import (
    Groups,
    Guarded,
    Rules,
    binary_interval,
    compare,
    compare_trials,
    corrected_alpha,
    fresh_slice_alpha,
    items_needed,
    mcnemar,
    open_ended_alpha,
    rule,
)
from loop.gate_spec import Field, SliceSpec

RULES = Rules(alpha=0.02, smallest_gain=0.0)
BITS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60)
REALS = st.lists(
    st.tuples(st.floats(2, 9), st.floats(2, 9)),
    min_size=2,
    max_size=25,
)


def arm(values: list[float]) -> dict[str, float | None]:
    """One trial of an arm; the ids sort as the values lie."""
    return {f"i{at:03d}": float(value) for at, value in enumerate(values)}


@given(st.integers(0, 80), st.integers(0, 80))
def test_more_wins_are_never_weaker_evidence_and_more_losses_never_stronger(wins: int, losses: int) -> None:
    p = mcnemar(wins, losses)
    assert 0 < p <= 1
    assert mcnemar(wins + 1, losses) <= p <= mcnemar(wins, losses + 1)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 200))
def test_the_binary_interval_holds_its_gain_and_mirrors(wins: int, losses: int, ties: int) -> None:
    n = wins + losses + ties
    if n == 0:
        return
    low, high = binary_interval(n, wins, losses)
    assert -1 <= low <= (wins - losses) / (n + 2) <= high <= 1
    assert binary_interval(n, losses, wins) == pytest.approx((-high, -low))


@given(BITS)
def test_a_comparison_and_its_mirror_never_both_speak_for_the_candidate(
    pairs: list[tuple[bool, bool]],
) -> None:
    new, old = arm([float(a) for a, _ in pairs]), arm([float(b) for _, b in pairs])
    there, back = compare(new, old, RULES), compare(old, new, RULES)
    assert there.gain == -back.gain
    assert (there.wins, there.losses) == (back.losses, back.wins)
    assert there.p + back.p >= 1 - 1e-9
    assert not (rule(there, RULES).passed and rule(back, RULES).passed)


@given(BITS, st.randoms(use_true_random=False))
def test_names_and_order_of_items_do_not_matter(pairs: list[tuple[bool, bool]], random: object) -> None:
    shuffled = list(pairs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    straight = compare(arm([float(a) for a, _ in pairs]), arm([float(b) for _, b in pairs]), RULES)
    mixed = compare(arm([float(a) for a, _ in shuffled]), arm([float(b) for _, b in shuffled]), RULES)
    assert mixed == straight


@settings(max_examples=40, deadline=None)
@given(REALS)
def test_real_scores_give_a_p_in_range_and_an_interval_the_right_way_round(
    pairs: list[tuple[float, float]],
) -> None:
    result = compare(arm([a for a, _ in pairs]), arm([b for _, b in pairs]), RULES)
    assert 0 < result.p <= 1
    assert result.low <= result.high
    assert math.isfinite(result.low)
    assert math.isfinite(result.high)
    edges = [a - b for a, b in pairs]
    assert min(edges) - 1e-9 <= result.low
    assert result.high <= max(edges) + 1e-9


@settings(max_examples=25, deadline=None)
@given(REALS)
def test_minimising_is_maximising_the_opposite(pairs: list[tuple[float, float]]) -> None:
    new, old = [a for a, _ in pairs], [b for _, b in pairs]
    down = compare(arm(new), arm(old), Rules(0.02, 0.0, higher_is_better=False))
    up = compare(arm([-a for a in new]), arm([-b for b in old]), RULES)
    assert (down.p, down.gain, down.wins) == (up.p, up.gain, up.wins)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=3, max_size=20))
def test_the_order_of_trials_does_not_matter(rows: list[list[bool]]) -> None:
    def trials(columns: tuple[int, ...]) -> list[Mapping[str, float | None]]:
        return [arm([float(row[column]) for row in rows]) for column in columns]

    straight = compare_trials(trials((0, 1, 2)), trials((3, 4, 5)), RULES, Groups())
    turned = compare_trials(trials((2, 0, 1)), trials((5, 4, 3)), RULES, Groups())
    assert turned == straight


@settings(max_examples=25, deadline=None)
@given(BITS, st.floats(0.01, 0.5), st.floats(0.01, 0.5))
def test_a_wider_margin_never_loses_a_slice(pairs: list[tuple[bool, bool]], one: float, two: float) -> None:
    new, old = arm([float(a) for a, _ in pairs]), arm([float(b) for _, b in pairs])
    items = frozenset(list(new)[: len(pairs) * 2 // 3])
    small, wide = (
        compare_trials([new], [old], RULES, Groups(None, (Guarded("s", items, margin),))).slices[0]
        for margin in sorted((one, two))
    )
    assert wide.held or not small.held


@given(st.floats(0.001, 0.5), st.integers(1, 40), st.integers(1, 40))
def test_corrections_never_give_more_than_alpha_away(alpha: float, queries: int, promotions: int) -> None:
    if promotions > queries:
        with pytest.raises(ValueError, match="not a usable contract"):
            fresh_slice_alpha(alpha, queries, promotions)
        return
    budget, fresh = corrected_alpha(alpha, queries, promotions), fresh_slice_alpha(alpha, queries, promotions)
    assert 0 < budget <= alpha
    assert fresh * queries * promotions == pytest.approx(alpha)
    assert corrected_alpha(alpha, queries, 1) == pytest.approx(alpha / queries)


def test_open_ended_levels_sum_to_alpha() -> None:
    levels = [open_ended_alpha(0.05, query) for query in range(1, 20001)]
    assert sum(levels) < 0.05
    assert sum(levels) == pytest.approx(0.05, rel=1e-3)
    assert levels == sorted(levels, reverse=True)
    with pytest.raises(ValueError, match="not a usable contract"):
        open_ended_alpha(0.05, 0)


def test_the_contract_chooses_the_correction() -> None:
    budgets = Budgets(hidden_queries=20)
    assert query_level(0.05, budgets, 2) == corrected_alpha(0.05, 20, 2)
    assert query_level(0.05, budgets, 2, "fresh-slice") == pytest.approx(0.05 / 40)
    assert query_level(0.05, budgets, 2, "open-ended", 3) == open_ended_alpha(0.05, 3)
    with pytest.raises(TaskError, match="no more promotions than queries"):
        query_level(0.05, budgets, 21, "fresh-slice")


@given(st.floats(0.01, 0.3), st.floats(0.0, 0.009))
def test_a_smallest_gain_worth_having_asks_for_no_fewer_items(gain: float, smallest: float) -> None:
    plain = items_needed(gain, 0.3, 0.0025)
    assert items_needed(gain, 0.3, 0.0025, smallest_gain=smallest) >= plain
    assert items_needed(gain, 0.3, 0.0025, power=0.9) >= plain


def test_the_seeds_of_the_trials_follow_from_the_contracts_seed() -> None:
    seeds = trial_seeds(7, 5)
    assert seeds[0] == 7
    assert len(set(seeds)) == 5
    assert seeds == trial_seeds(7, 5)
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert trial_seeds(8, 5)[1:] != seeds[1:]


def test_a_contract_comes_back_from_its_json_whole() -> None:
    contract = Contract(
        task="t", metric="m", higher_is_better=False, evaluator="e", policy="p", base_release="r",
        profile="search", seed=3, levers=("harness",), trials=2, trial_seeds=(3, 5), correction="open-ended",
        cluster=Field("source", "inputs"), slices=(SliceSpec("ink", Field("ink", "labels"), 0.1, ("faint",)),),
    )  # fmt: skip
    assert Contract.from_json(contract.as_json()) == contract
    assert contract.level(2) == open_ended_alpha(0.05, 2)


def test_a_contract_of_before_slices_and_trials_can_still_be_read() -> None:
    data = Contract("t", "m", True, "e", "p", "r", "search", 3, ("harness",)).as_json()
    for key in ("trials", "trial_seeds", "slices", "cluster", "correction", "hidden_set"):
        del data[key]
    contract = Contract.from_json(data)
    assert contract.seeds() == (3,)
    assert contract.slices == ()


def test_the_oracle_of_powers_is_the_normal_approximation() -> None:
    """Chance of passing at a given number of items, simulated from the same two shares."""
    n = items_needed(0.1, 0.3, 0.0025)
    counts = np.random.default_rng(4).multinomial(n, [0.2, 0.1, 0.7], size=4000)
    passed = np.mean([mcnemar(int(wins), int(losses)) <= 0.0025 for wins, losses, _ in counts])
    assert passed == pytest.approx(0.8, abs=0.04)
