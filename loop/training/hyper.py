"""Hyper-parameters of the training algorithms: defaults, and the check of what a decision asks for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from loop.errors import TrainingError

TINY_PARAMETERS = 50_000_000


@dataclass(frozen=True, slots=True)
class Hyper:
    """Settings of one training job. Lengths in tokens, counts in optimizer steps or prompts.

    `generations` samples are drawn for each of `prompts_per_step` prompts a step, at `temperature`. `beta` weighs the
    divergence from the base; `scale_rewards` is none, batch or group; `updates` is how often one batch of
    samples is used; `max_wins` caps the wins of one prompt that rejection sampling learns from; `micro_batch` is
    how many completions one backward pass holds (0: all of a step).
    """

    steps: int = 150
    prompts_per_step: int = 16
    generations: int = 8
    lr: float = 1e-3
    schedule: str = "linear"
    beta: float = 0.0
    epsilon: float = 0.2
    epsilon_high: float = 0.28
    scale_rewards: str = "none"
    loss: str = "dr_grpo"
    temperature: float = 1.0
    max_completion: int = 64
    updates: int = 1
    max_wins: int = 4
    lora_r: int = 16
    lora_alpha: int = 32
    max_grad_norm: float = 1.0
    weight_decay: float = 0.0
    gae_lambda: float = 0.95
    value_lr: float = 1e-2
    micro_batch: int = 0


DEFAULTS: Mapping[str, Hyper] = {
    "grpo": Hyper(prompts_per_step=32, lr=2e-3),
    "gspo": Hyper(loss="grpo"),
    "rloo": Hyper(steps=120, beta=0.05),
    "rejection": Hyper(steps=100, lr=2e-3),
    "entropic": Hyper(steps=60),
    "ppo": Hyper(steps=160, lr=5e-4, updates=4, beta=0.05, epsilon_high=0.2),
}
IMPLEMENTED = frozenset(DEFAULTS)
OPEN = frozenset(item.name for item in fields(Hyper))
CHOICES: Mapping[str, frozenset[str]] = {
    "schedule": frozenset({"linear", "constant", "cosine"}),
    "scale_rewards": frozenset({"none", "batch", "group"}),
    "loss": frozenset({"dr_grpo", "dapo", "grpo", "bnpo"}),
}
BOUNDS: Mapping[str, tuple[float, float]] = {
    "steps": (1, 100_000), "prompts_per_step": (1, 4096), "generations": (2, 256), "lr": (1e-8, 1e-1),
    "beta": (0, 10), "epsilon": (0.001, 1), "epsilon_high": (0.001, 10), "temperature": (0.05, 5),
    "max_completion": (1, 65_536), "updates": (1, 16), "max_wins": (1, 256), "lora_r": (1, 256),
    "lora_alpha": (1, 1024), "max_grad_norm": (0.01, 100), "weight_decay": (0, 1), "gae_lambda": (0, 1),
    "value_lr": (1e-6, 1), "micro_batch": (0, 65_536),
}  # fmt: skip


def for_size(hyper: Hyper, parameters: int | None) -> Hyper:
    """`hyper` for a base of this many parameters; the defaults are those of tiny bases (under 50 million)."""
    if parameters is None or parameters < TINY_PARAMETERS:
        return hyper
    return replace(hyper, lr=hyper.lr / 25, lora_r=32, lora_alpha=64)


def resolve(algorithm: str, asked: Mapping[str, Any]) -> Hyper:
    """The algorithm's defaults with `asked` laid over them.

    Raises TrainingError for an algorithm that is not implemented, an unknown name, a wrong type or a value out of
    bounds.
    """
    if algorithm not in DEFAULTS:
        known = ", ".join(sorted(IMPLEMENTED))
        raise TrainingError(f"The algorithm {algorithm!r} is not implemented here; choose one of {known}.")
    return replace(DEFAULTS[algorithm], **_all_checked(asked, OPEN))


def check_settings(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The hyper-parameters that a task fixes for whatever algorithm is chosen, checked.

    Raises TrainingError for an unknown name, a wrong type or a value out of bounds. `max_completion` is not among
    them: how long an answer may be is what the harness itself asks the model for.
    """
    return _all_checked(asked, OPEN - {"max_completion"})


def _all_checked(asked: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    for name in asked:
        if name not in known:
            raise TrainingError(
                f"There is no hyper-parameter {name!r} to set; the names are {', '.join(sorted(known))}."
            )
    return {name: _checked(name, value, type(getattr(Hyper(), name))) for name, value in asked.items()}


def _checked(name: str, value: Any, kind: type) -> Any:
    if kind is float and type(value) is int:
        value = float(value)
    found: type = type(value)
    if found is not kind:
        raise TrainingError(f"The hyper-parameter {name} must be of type {kind.__name__}, got {value!r}.")
    if name in CHOICES and value not in CHOICES[name]:
        raise TrainingError(
            f"The hyper-parameter {name} must be one of {sorted(CHOICES[name])}, got {value!r}."
        )
    if name in BOUNDS:
        _check_bounds(name, value)
    return value


def _check_bounds(name: str, value: float) -> None:
    low, high = BOUNDS[name]
    if not low <= value <= high:
        raise TrainingError(f"The hyper-parameter {name} must lie in [{low:g}, {high:g}], got {value!r}.")
