"""The collapse guard: watches reward and entropy of a training run. Pure; its state is plain JSON values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What one step means: go on, go on and keep these weights, or stop."""

    ON = "on"
    BEST = "best"
    COLLAPSED = "collapsed"


@dataclass(frozen=True, slots=True)
class GuardRules:
    """When a fall counts. Means are taken over `window` steps.

    Reward has collapsed when its mean is below the best mean by more than `fall` of it and by more than `errors`
    standard errors of the difference; entropy has collapsed when it is below `floor` of its start while reward is no
    better than at the start.
    """

    window: int = 10
    fall: float = 0.35
    errors: float = 4.0
    floor: float = 0.05


class CollapseGuard:
    """Feed it every step in order. `reason` says why it stopped the run; `best_step` is what to go back to."""

    def __init__(self, rules: GuardRules | None = None) -> None:
        self.rules = rules or GuardRules()
        self.rewards: list[float] = []
        self.entropies: list[float] = []
        self.steps = 0
        self.start: float | None = None
        self.start_entropy: float | None = None
        self.best: float | None = None
        self.best_error = 0.0
        self.best_step = 0
        self.reason = ""

    def observe(self, reward: float | None, entropy: float | None, loss: float | None) -> Verdict:
        """Judge one more step; `None` means that the step gave no such figure."""
        self.steps += 1
        if loss is not None and not math.isfinite(loss):
            self.reason = f"the loss was {loss} at step {self.steps}"
            return Verdict.COLLAPSED
        if reward is not None:
            self.rewards = [*self.rewards, reward][-self.rules.window :]
        if entropy is not None:
            self.entropies = [*self.entropies, entropy][-self.rules.window :]
        if len(self.rewards) < self.rules.window:
            return Verdict.ON
        return self._judge()

    def _judge(self) -> Verdict:
        mean, error = _mean_and_error(self.rewards)
        entropy = sum(self.entropies) / len(self.entropies) if self.entropies else None
        if self.start is None:
            self.start, self.start_entropy = mean, entropy
        if self.best is not None:
            low = self.best - max(
                self.rules.fall * abs(self.best), self.rules.errors * math.hypot(error, self.best_error)
            )
            if mean < low:
                self.reason = f"mean reward fell from {self.best:.3f} to {mean:.3f} by step {self.steps}"
                return Verdict.COLLAPSED
        flat = mean <= self.start + self.rules.errors * error
        if (
            entropy is not None
            and self.start_entropy
            and entropy < self.rules.floor * self.start_entropy
            and flat
        ):
            self.reason = (
                f"entropy fell from {self.start_entropy:.3f} to {entropy:.3f} by step {self.steps} "
                f"and reward did not rise (from {self.start:.3f} to {mean:.3f})"
            )
            return Verdict.COLLAPSED
        if self.best is None or mean > self.best:
            self.best, self.best_error, self.best_step = mean, error, self.steps
            return Verdict.BEST
        return Verdict.ON

    def state(self) -> dict[str, Any]:
        """Everything observed, as JSON values."""
        names = (
            "rewards",
            "entropies",
            "steps",
            "start",
            "start_entropy",
            "best",
            "best_error",
            "best_step",
            "reason",
        )
        return {name: getattr(self, name) for name in names}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state()` returned."""
        for name, value in state.items():
            setattr(self, name, value)


def _mean_and_error(values: list[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)
    return mean, math.sqrt(variance / len(values))
