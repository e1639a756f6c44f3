"""The advantages that the trainers use, against small cases worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

pytestmark = pytest.mark.train


@pytest.fixture(name="torch", scope="module")
def imported_torch() -> Any:
    """PyTorch, imported when the first test runs: it takes seconds, and whoever collects the tests would pay."""
    return pytest.importorskip("torch")


def test_entropic_weights_lie_ln_2_from_uniform(torch: Any) -> None:
    from loop.training.trainer_losses import entropic_beta

    values = torch.tensor([0.0, 0.1, 0.3, 0.35, 0.8, 0.81, 0.9, 2.0], dtype=torch.float64)
    log_weights = torch.log_softmax(entropic_beta(values) * values, dim=0)
    divergence = float((log_weights.exp() * (log_weights + math.log(8))).sum())
    assert divergence == pytest.approx(math.log(2), abs=1e-6)


def test_entropic_advantages_favour_the_best_and_skip_what_is_unknown(torch: Any) -> None:
    from loop.training.trainer_losses import entropic_advantages

    advantages = entropic_advantages(torch.tensor([0.0, 1.0, 0.5, math.nan]))
    assert advantages[1] > 0 > advantages[0] and math.isnan(advantages[3])
    weights = 1 + advantages[:3]
    known = entropic_advantages(torch.tensor([0.0, 1.0, 0.5]))
    assert torch.allclose(weights, 1 + known)


def test_a_group_without_variance_teaches_nothing(torch: Any) -> None:
    from loop.training.trainer_losses import entropic_advantages

    assert entropic_advantages(torch.tensor([1.0, 1.0, 1.0])).tolist() == [0.0, 0.0, 0.0]


def test_many_ties_at_the_top_stay_finite(torch: Any) -> None:
    from loop.training.trainer_losses import entropic_advantages

    advantages = entropic_advantages(torch.tensor([1.0] * 7 + [0.0]))
    assert torch.isfinite(advantages).all() and advantages[-1] < 0 < advantages[0]


def test_generalised_advantages_with_lambda_one_are_reward_less_value(torch: Any) -> None:
    from loop.training.trainer_losses import gae

    values = torch.tensor([[0.2, 0.4, 0.1], [0.3, 0.5, 9.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    found = gae(torch.tensor([1.0, 0.0]), values, mask, 1.0)
    assert torch.allclose(found, torch.tensor([[0.8, 0.6, 0.9], [-0.3, -0.5, 0.0]]))


def test_generalised_advantages_with_lambda_zero_are_one_step_differences(torch: Any) -> None:
    from loop.training.trainer_losses import gae

    found = gae(torch.tensor([1.0]), torch.tensor([[0.2, 0.4]]), torch.ones(1, 2), 0.0)
    assert torch.allclose(found, torch.tensor([[0.2, 0.6]]))


def test_rejection_sampling_learns_from_at_most_the_first_wins_of_a_prompt(torch: Any) -> None:
    from loop.training.hyper import Hyper
    from loop.training.trainer_losses import RejectionTrainer

    class Rewards:
        hyper = Hyper(max_wins=2)

    rewards = torch.tensor([[1.0, 0.0, 1.0, 1.0], [math.nan, 0.0, 0.0, 0.5]])
    shaped = RejectionTrainer.shape(Rewards(), rewards)  # type: ignore[arg-type]
    assert shaped.tolist() == [[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.5]]


def test_prompts_come_in_seeded_passes_that_use_each_prompt_equally() -> None:
    from loop.training.trainer_losses import Passes

    passes = Passes(size=5, group=2, samples=3, repeats=2, groups=5, seed=1)
    seen = list(passes)
    assert len(seen) == len(passes) == 5 * 2 * 2 * 3
    assert seen == list(passes) != list(Passes(5, 2, 3, 2, 5, 2))
    assert {seen.count(prompt) for prompt in range(5)} == {12}
    first = seen[:12]
    assert first[:6] == first[6:] and first[0] == first[1] == first[2] != first[3]
