"""Which RL algorithm fits a reward landscape, or that none does. Pure; the reason names every number that it used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from loop.training.hyper import DEFAULTS, for_size
from loop.types import Landscape

NONE = "none"
LOWEST_SUCCESS = 0.02
LOW_SUCCESS = 0.1
HIGH_SUCCESS = 0.9
MOST_FLAT_GROUPS = 0.8
FEWEST_SAMPLES = 8
ENOUGH_PROMPTS = 100


@dataclass(frozen=True, slots=True)
class RouterFacts:
    """What the landscape does not say. `train_prompts` is how many prompts training can draw from.

    `off_policy`: answers are long, or samples are older than the weights, or the base is a mixture of experts.
    `dense_rewards`: every step is rewarded and a critic is stable. `preferences_only`: there are ranks, no rewards.
    `parameters` counts the base's weights, None when unknown. `fixed` are hyper-parameters that nobody chooses: the
    task's own [training], and what the harness's calls determine.
    """

    train_prompts: int
    first_round: bool = True
    noisy_verifier: bool = False
    off_policy: bool = False
    dense_rewards: bool = False
    preferences_only: bool = False
    parameters: int | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """The choice: an algorithm ("none" refuses), its hyper-parameters, and why in one sentence with the numbers."""

    algorithm: str
    reason: str
    hyper: Mapping[str, Any] = field(default_factory=dict)

    @property
    def refused(self) -> bool:
        """Whether no weight update should be made."""
        return self.algorithm == NONE


def route(landscape: Landscape, facts: RouterFacts) -> Route:
    """Choose by the landscape: first what cannot teach, then what is special, then the success rate."""
    numbers = (
        f"p={landscape.p:.3f}, z={landscape.z:.3f}, N={facts.train_prompts} "
        f"({landscape.prompts} measured x {landscape.samples_per_prompt} samples), "
        f"{'binary' if landscape.binary else 'continuous'} reward, {landscape.turns} turn(s), goal {landscape.goal}"
    )
    if facts.preferences_only:
        return Route("dpo", f"Only preferences are known: DPO ({numbers}).", {"beta": 0.1})
    if why := _cannot_teach(landscape):
        return Route(NONE, f"No weight update: {why} ({numbers}).")
    algorithm, why = _special(landscape, facts) or _by_success(landscape, facts)
    if algorithm == NONE:
        return Route(NONE, f"No weight update: {why} ({numbers}).")
    hyper = asdict(for_size(DEFAULTS[algorithm], facts.parameters))
    return Route(algorithm, f"{algorithm}: {why} ({numbers}).", {**hyper, **facts.fixed})


def _cannot_teach(landscape: Landscape) -> str:
    if landscape.prompts < 1 or landscape.samples_per_prompt < FEWEST_SAMPLES:
        return f"the landscape needs at least {FEWEST_SAMPLES} samples of a prompt"
    if landscape.z > MOST_FLAT_GROUPS:
        return f"more than {MOST_FLAT_GROUPS} of the groups have no variance; use harness, easier data or a teacher"
    if landscape.binary and landscape.p < LOWEST_SUCCESS:
        return f"success is below {LOWEST_SUCCESS}; use harness, easier data or a teacher"
    return ""


def _special(landscape: Landscape, facts: RouterFacts) -> tuple[str, str] | None:
    if landscape.goal == "best" and facts.train_prompts == 1:
        return "entropic", "one problem whose best answer counts"
    if facts.dense_rewards:
        return "ppo", "dense rewards for every step and a stable critic"
    if facts.off_policy:
        return "gspo", "long or off-policy samples, or a mixture of experts"
    if not landscape.binary:
        return "rloo", "a continuous reward whose mean counts"
    return None


def _by_success(landscape: Landscape, facts: RouterFacts) -> tuple[str, str]:
    if landscape.p > HIGH_SUCCESS:
        return NONE, f"success is above {HIGH_SUCCESS}, so little is left to teach"
    if landscape.p < LOW_SUCCESS:
        first = " in the first weight round" if facts.first_round else ""
        return "rejection", f"success in {LOWEST_SUCCESS} to {LOW_SUCCESS}{first}: clone verified wins"
    if facts.noisy_verifier:
        return "rejection", "a noisy verifier: clone verified wins"
    if facts.train_prompts < ENOUGH_PROMPTS:
        return "rejection", f"fewer than {ENOUGH_PROMPTS} prompts: clone verified wins"
    return "grpo", f"binary, success in {LOW_SUCCESS} to {HIGH_SUCCESS}, at least {ENOUGH_PROMPTS} prompts"
