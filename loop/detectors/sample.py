"""D10: trajectories for people to read with every proposal: 5 random, 5 of the highest gain, 5 flagged. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

OF_EACH = 5


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One item of the candidate's public-val rollout, and why it was picked."""

    rollout: int
    item: str
    why: str

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Rolled:
    """A rollout to pick from: its number, the candidate's and the parent's score by item, and flagged items."""

    rollout: int
    scores: Mapping[str, float]
    before: Mapping[str, float]
    flagged: Mapping[str, str]
    higher_is_better: bool = True


def pick(rolled: Rolled, seed: str) -> dict[str, list[dict[str, Any]]]:
    """The sample by group. `seed` must be something that the candidate cannot choose.

    No trajectory is in two groups while others are left. When fewer than five are flagged, the largest losses are
    added to them.
    """
    sign = 1.0 if rolled.higher_is_better else -1.0
    gains = {
        item: sign * (score - rolled.before[item])
        for item, score in rolled.scores.items()
        if item in rolled.before
    }
    flagged = [Trajectory(rolled.rollout, item, why) for item, why in rolled.flagged.items()][:OF_EACH]
    taken = {each.item for each in flagged}
    losses = [item for item in sorted(gains, key=lambda key: (gains[key], key)) if item not in taken]
    for item in losses[: OF_EACH - len(flagged)]:
        if gains[item] < 0:
            flagged.append(Trajectory(rolled.rollout, item, f"lost {-gains[item]:.3g}"))
    taken = {each.item for each in flagged}
    best = [item for item in sorted(gains, key=lambda key: (-gains[key], key)) if item not in taken][:OF_EACH]
    taken.update(best)
    rest = sorted(item for item in rolled.scores if item not in taken)
    chosen = random.Random(seed).sample(rest, min(OF_EACH, len(rest)))
    groups = {
        "flagged": flagged,
        "highest gain": [Trajectory(rolled.rollout, item, f"gained {gains[item]:.3g}") for item in best],
        "random": [Trajectory(rolled.rollout, item, f"scored {rolled.scores[item]:.3g}") for item in chosen],
    }
    return {name: [each.as_json() for each in group] for name, group in groups.items()}
