"""Every row of the table that says which RL algorithm fits which landscape."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loop.training.hyper import DEFAULTS, IMPLEMENTED
from loop.training.router import RouterFacts, route
from loop.types import Landscape

PLAIN = Landscape(p=0.5, z=0.2, prompts=64, samples_per_prompt=8)
MANY = RouterFacts(train_prompts=447)


def test_binary_rewards_in_the_middle_with_many_prompts_choose_grpo() -> None:
    chosen = route(PLAIN, MANY)
    assert chosen.algorithm == "grpo" and not chosen.refused
    assert chosen.hyper["beta"] == 0 and chosen.hyper["generations"] == 8
    assert (chosen.hyper["epsilon"], chosen.hyper["epsilon_high"]) == (0.2, 0.28)


@pytest.mark.parametrize("p", [0.1, 0.9])
def test_the_ends_of_the_middle_still_choose_grpo(p: float) -> None:
    assert route(replace(PLAIN, p=p), MANY).algorithm == "grpo"


def test_the_reason_names_every_number_that_was_used() -> None:
    reason = route(replace(PLAIN, p=0.423), MANY).reason
    for number in ("p=0.423", "z=0.200", "N=447", "64 measured x 8 samples", "binary", "goal mean"):
        assert number in reason


@pytest.mark.parametrize(
    ("landscape", "why"),
    [
        (replace(PLAIN, p=0.019), "success is below 0.02"),
        (replace(PLAIN, z=0.81), "no variance"),
        (replace(PLAIN, p=0.91), "little is left"),
        (replace(PLAIN, samples_per_prompt=7), "at least 8 samples"),
        (replace(PLAIN, prompts=0), "at least 8 samples"),
    ],
)
def test_a_landscape_that_cannot_teach_is_refused_with_the_reason(landscape: Landscape, why: str) -> None:
    chosen = route(landscape, MANY)
    assert chosen.refused and chosen.algorithm == "none" and chosen.hyper == {}
    assert why in chosen.reason and "p=" in chosen.reason


@pytest.mark.parametrize("landscape", [replace(PLAIN, p=0.02), replace(PLAIN, z=0.8)])
def test_the_limits_of_refusal_are_not_refused(landscape: Landscape) -> None:
    assert not route(landscape, MANY).refused


@pytest.mark.parametrize(
    ("landscape", "facts"),
    [
        (replace(PLAIN, p=0.05), MANY),
        (replace(PLAIN, p=0.05), replace(MANY, first_round=False)),
        (PLAIN, replace(MANY, noisy_verifier=True)),
        (PLAIN, replace(MANY, train_prompts=99)),
    ],
)
def test_rare_success_a_noisy_verifier_or_few_prompts_choose_rejection_sampling(
    landscape: Landscape, facts: RouterFacts
) -> None:
    chosen = route(landscape, facts)
    assert chosen.algorithm == "rejection" and chosen.hyper["max_wins"] == 4


def test_off_policy_samples_choose_gspo() -> None:
    assert route(PLAIN, replace(MANY, off_policy=True)).algorithm == "gspo"


def test_a_continuous_reward_chooses_rloo_with_divergence_from_the_base() -> None:
    chosen = route(replace(PLAIN, binary=False, p=0.01), MANY)
    assert chosen.algorithm == "rloo" and chosen.hyper["beta"] == 0.05


def test_one_problem_whose_best_answer_counts_chooses_entropic() -> None:
    one = RouterFacts(train_prompts=1)
    assert route(replace(PLAIN, goal="best", binary=False), one).algorithm == "entropic"
    assert route(replace(PLAIN, goal="best"), MANY).algorithm == "grpo"


def test_dense_rewards_choose_ppo() -> None:
    chosen = route(PLAIN, replace(MANY, dense_rewards=True))
    assert chosen.algorithm == "ppo" and chosen.hyper["gae_lambda"] == 0.95


def test_preferences_only_choose_dpo_which_no_trainer_here_replaces_silently() -> None:
    chosen = route(PLAIN, replace(MANY, preferences_only=True))
    assert chosen.algorithm == "dpo" and "dpo" not in IMPLEMENTED


def test_a_large_base_gets_a_smaller_rate_and_a_larger_rank() -> None:
    chosen = route(PLAIN, replace(MANY, parameters=8_000_000_000))
    assert chosen.hyper["lr"] == pytest.approx(DEFAULTS["grpo"].lr / 25) and chosen.hyper["lora_r"] == 32
    assert route(PLAIN, replace(MANY, parameters=240_672)).hyper["lr"] == DEFAULTS["grpo"].lr
