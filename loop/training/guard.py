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
    """When a fall counts. Means are taken over the last `window` steps, and from step `first` on.

    Reward has collapsed when its mean is below the best mean by more than `fall` of it and by more than `errors`
    standard errors of the difference; entropy has collapsed when it is below `floor` of its start while reward is no
    better than at the start.
    """

    window: int = 10
    first: int = 3
    fall: float = 0.5
    errors: float = 5.0
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
        self.best_width = 1
        self.changes = 0
        self.squares = 0.0
        self.best_step = 0
        self.reason = ""

    def observe(self, reward: float | None, entropy: float | None, loss: float | None) -> Verdict:
        """Judge one more step; `None` means that the step gave no such figure."""
        self.steps += 1
        if loss is not None and not math.isfinite(loss):
            self.reason = f"the loss was {loss} at step {self.steps}"
            return Verdict.COLLAPSED
        if reward is not None:
            if self.rewards:
                self.changes += 1
                self.squares += (reward - self.rewards[-1]) ** 2
            self.rewards = [*self.rewards, reward][-self.rules.window :]
        if entropy is not None:
            self.entropies = [*self.entropies, entropy][-self.rules.window :]
        if len(self.rewards) < self.rules.first:
            return Verdict.ON
        return self._judge()

    def _judge(self) -> Verdict:
        mean = sum(self.rewards) / len(self.rewards)
        entropy = sum(self.entropies) / len(self.entropies) if self.entropies else None
        if self.start is None or self.best is None:
            self.start, self.start_entropy = mean, entropy
            return self._keep(mean)
        noise = self.rules.errors * self.noise() * math.sqrt(1 / len(self.rewards) + 1 / self.best_width)
        if mean < self.best - max(self.rules.fall * abs(self.best), noise):
            self.reason = f"mean reward fell from {self.best:.3f} to {mean:.3f} by step {self.steps}"
            return Verdict.COLLAPSED
        gone = self.start_entropy and entropy is not None and entropy < self.rules.floor * self.start_entropy
        if gone and mean <= self.start + noise:
            self.reason = (
                f"entropy fell from {self.start_entropy:.3f} to {entropy:.3f} by step {self.steps} "
                f"and reward did not rise (from {self.start:.3f} to {mean:.3f})"
            )
            return Verdict.COLLAPSED
        return self._keep(mean) if mean > self.best else Verdict.ON

    def _keep(self, mean: float) -> Verdict:
        self.best, self.best_width, self.best_step = mean, len(self.rewards), self.steps
        return Verdict.BEST

    def noise(self) -> float:
        """Standard deviation of one step's reward, judged by the changes from step to step.

        Changes, unlike deviations from a mean, are not blown up by a trend or a fall.
        """
        return math.sqrt(self.squares / self.changes / 2) if self.changes else 0.0

    def state(self) -> dict[str, Any]:
        """Everything observed, as JSON values."""
        return {name: value for name, value in vars(self).items() if name != "rules"}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state()` returned."""
        for name, value in state.items():
            setattr(self, name, value)
