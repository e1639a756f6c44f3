"""The collapse guard: it stops a real fall and nothing else."""

from __future__ import annotations

import json
import math
import random

import pytest

from loop.training.guard import CollapseGuard, Verdict


def feed(guard: CollapseGuard, rewards: list[float], entropy: float | None = 0.3) -> Verdict:
    """Feed steps until the guard stops or the list ends; returns the last verdict."""
    verdict = Verdict.ON
    for reward in rewards:
        verdict = guard.observe(reward, entropy, 0.01)
        if verdict is Verdict.COLLAPSED:
            return verdict
    return verdict


def noisy(mean: float, steps: int, seed: int) -> list[float]:
    draw = random.Random(seed)
    return [min(1.0, max(0.0, draw.gauss(mean, 0.1))) for _ in range(steps)]


@pytest.mark.parametrize("seed", range(200))
def test_a_flat_noisy_run_is_never_stopped(seed: int) -> None:
    assert feed(CollapseGuard(), noisy(0.4, 300, seed)) is not Verdict.COLLAPSED


@pytest.mark.parametrize("at", [3, 5, 8, 12, 60])
@pytest.mark.parametrize("seed", range(5))
def test_a_fall_to_nothing_is_stopped_within_a_window_and_a_half(at: int, seed: int) -> None:
    guard = CollapseGuard()
    assert feed(guard, noisy(0.55, at, seed) + [0.0] * 15) is Verdict.COLLAPSED
    assert guard.best_step <= at + 3 and "mean reward fell" in guard.reason


def test_a_rise_is_kept_step_by_step() -> None:
    guard = CollapseGuard()
    assert feed(guard, [step / 100 for step in range(30)]) is Verdict.BEST
    assert guard.best_step == 30


def test_vanished_entropy_stops_a_run_that_learned_nothing() -> None:
    guard = CollapseGuard()
    feed(guard, noisy(0.4, 20, 1), entropy=0.5)
    assert feed(guard, noisy(0.4, 20, 2), entropy=0.001) is Verdict.COLLAPSED
    assert "entropy fell" in guard.reason


def test_vanished_entropy_with_higher_reward_is_success() -> None:
    guard = CollapseGuard()
    feed(guard, [0.4] * 20, entropy=0.5)
    assert feed(guard, [0.95] * 30, entropy=0.001) is not Verdict.COLLAPSED


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_run(loss: float) -> None:
    guard = CollapseGuard()
    assert guard.observe(0.5, 0.3, loss) is Verdict.COLLAPSED
    assert "loss" in guard.reason


def test_unknown_rewards_are_skipped_and_never_counted_as_zero() -> None:
    guard = CollapseGuard()
    feed(guard, [0.5] * 12)
    for _ in range(30):
        assert guard.observe(None, None, 0.0) is Verdict.ON
    assert guard.best == 0.5


def test_a_guard_restored_from_json_judges_as_the_first_would() -> None:
    first = CollapseGuard()
    feed(first, noisy(0.5, 25, 3))
    second = CollapseGuard()
    second.restore(json.loads(json.dumps(first.state())))
    tail = noisy(0.5, 10, 4) + [0.0] * 20
    assert feed(first, tail) is feed(second, tail) is Verdict.COLLAPSED
    assert first.state() == second.state()


def test_noise_is_judged_by_changes_so_that_a_trend_is_not_noise() -> None:
    guard = CollapseGuard()
    assert guard.noise() == 0
    feed(guard, [step / 100 for step in range(50)])
    assert guard.noise() < 0.01
