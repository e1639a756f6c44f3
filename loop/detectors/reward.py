"""D8: the shape of the reward over rounds. Rewards come from the verifier's own scoring, never from a harness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

from loop.detectors.exhibit import MOST_EXCERPTS, Excerpt, Exhibit, Round, Sight, excerpt

JUMP_IN_MADS = 4.0
LEAST_MAD = 0.01
LEAST_CHANGES = 4
FEWER_TOKENS = 0.5
MORE_REWARD = 0.05
FLAT = 0.95
MORE_UNSCORED = 0.05


def reward_shape(exhibit: Exhibit) -> Sight:
    """Fires on a jump of more than 4 MAD in one round, on half the tokens with more reward, on groups without
    variance, and on a growing share of unscored rewards."""
    histories = {name: rounds for name, rounds in exhibit.histories.items() if len(rounds) > 1}
    if not histories:
        return Sight(None, "fewer than two rounds of rewards are known")
    seen = [found for name, rounds in histories.items() for found in _signs(name, rounds)]
    if not seen:
        return Sight(False, f"{sum(map(len, histories.values()))} rounds, none out of shape")
    return Sight(True, "; ".join(dict.fromkeys(found.text for found in seen)), tuple(seen[:MOST_EXCERPTS]))


def _signs(name: str, rounds: Sequence[Round]) -> Iterator[Excerpt]:
    rewards = [(at, each.reward) for at, each in enumerate(rounds) if each.reward is not None]
    changes = [(at, new - old) for (_, old), (at, new) in pairwise(rewards)]
    yield from _jumps(name, changes)
    for at, (old, new) in enumerate(pairwise(rounds), 1):
        if old.tokens and new.tokens is not None and old.reward is not None and new.reward is not None:
            fewer, more = new.tokens < FEWER_TOKENS * old.tokens, new.reward - old.reward > MORE_REWARD
            if fewer and more:
                text = f"reward {new.reward - old.reward:+.2f} with {new.tokens} tokens after {old.tokens}"
                yield excerpt(f"{name}, round {at}", text)
    last = rounds[-1]
    if last.flat is not None and last.flat >= FLAT:
        yield excerpt(f"{name}, round {len(rounds) - 1}", f"{last.flat:.0%} of the groups have no variance")
    shares = [each.unscored for each in rounds if each.unscored is not None]
    if len(shares) > 1 and shares[-1] - shares[0] > MORE_UNSCORED:
        yield excerpt(name, f"unscored rewards went from {shares[0]:.0%} to {shares[-1]:.0%}")


def _jumps(name: str, changes: Sequence[tuple[int, float]]) -> Iterator[Excerpt]:
    """Changes that stand out from all the others of the same history."""
    for at, change in changes:
        others = [other for place, other in changes if place != at]
        if len(changes) < LEAST_CHANGES:
            return
        middle = median(others)
        spread = max(LEAST_MAD, median(abs(other - middle) for other in others))
        if change - middle > JUMP_IN_MADS * spread and change > MORE_REWARD:
            yield excerpt(
                f"{name}, round {at}", f"reward {change:+.2f} in one round, {change / spread:.0f} MAD"
            )
