"""What an agent may see: public evidence of one campaign, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loop.agents.settings_file import SETTINGS, Tunable, parse_settings
from loop.training.router import RouterFacts
from loop.types import Landscape, Lever


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One past generation; generation 0 is the first harness. `score` is None when there
    was no result, `score_before` is its parent's score.

    `params` are the tunables' values that it tried (harness), empty for other edits.
    """

    generation: int
    lever: Lever
    accepted: bool
    reason: str
    score_before: float | None = None
    score: float | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    algorithm: str = ""


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is left of the campaign's budgets; None means that there is no such budget."""

    generations: int
    cost_usd: float | None = None
    tokens: int | None = None
    wall_s: float | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that an agent reads for one generation. All of it is public data of the task.

    `harness_files` is the parent's tree (text), `items` its per-item public-val scores, `trajectories`
    sampled steps of its rollout, `failures` how many public-val items failed by kind (loop.agents.failures).
    `score_range` is the metric's declared range; `training` is what the router needs beside the landscape.
    """

    task_md: str
    harness_files: Mapping[str, str]
    score_before: float | None
    budget: Remaining
    seed: int
    generation: int
    items: Mapping[str, float] = field(default_factory=dict)
    trajectories: tuple[Mapping[str, Any], ...] = ()
    history: tuple[HistoryRow, ...] = ()
    landscape: Landscape | None = None
    allowed_levers: frozenset[Lever] = frozenset({Lever.HARNESS, Lever.STOP})
    failures: Mapping[str, int] = field(default_factory=dict)
    metric: str = "score"
    higher_is_better: bool = True
    score_range: tuple[float, float] | None = None
    training: RouterFacts | None = None

    @property
    def settings(self) -> dict[str, Tunable]:
        """The parent's declared tunables; empty without a settings.toml. Raises HarnessError."""
        text = self.harness_files.get(SETTINGS)
        return {} if text is None else parse_settings(text)
