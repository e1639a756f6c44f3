"""What the gate is for, simulated: a loop whose candidates are never better, an adversary, and the power of the test.

Every decision is taken by the gate's own functions; nothing of it is written down again here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from loop.gate import (
    Comparison,
    Rules,
    binary_interval,
    cmh,
    corrected_alpha,
    items_needed,
    keeps,
    mcnemar,
    rule,
    sign_flip,
)

ALPHA = 0.05
ACCURACY = 0.5  # of every candidate, always: nothing is ever better
REDRAWN = 0.3  # share of its parent's items that a candidate answers anew
SE = 3.0  # standard errors of the simulation that are allowed for
POINTS_OFF = 1.5  # how far an inflation may lie from the published one
POWER = 0.8
POWER_OFF = 0.05  # how far the simulated power may lie below the stated one

Say = Callable[[str], None]
Bits = NDArray[np.bool_]
COLUMNS = ("best score", "Ladder, 1 s.e.", "p < .05", "gate, alpha/k")
# (n, k): inflation in points and false promotions of each column, as published for this design.
PUBLISHED = {
    (50, 20): ((17.9, 4.1), (11.7, 1.6), (3.6, 0.25), (-0.5, 0.0)),
    (100, 20): ((12.5, 4.5), (8.0, 1.5), (3.5, 0.42), (0.0, 0.02)),
    (100, 50): ((18.3, 6.7), (13.0, 2.3), (6.2, 0.80), (0.8, 0.01)),
    (300, 50): ((10.5, 7.4), (7.3, 2.3), (4.3, 0.89), (-0.3, 0.02)),
    (1000, 50): ((5.7, 8.0), (4.2, 2.3), (2.5, 0.97), (0.2, 0.01)),
}
ADVERSARY = {"released scores": 14.0, "the bit of a greedy rule": 9.8, "the bit of the gate": 0.2}
POWER_TABLE = {
    (0.2, 0.05): 1062, (0.2, 0.10): 264, (0.2, 0.15): 116, (0.2, 0.20): 64,
    (0.3, 0.05): 1595, (0.3, 0.10): 397, (0.3, 0.15): 175, (0.3, 0.20): 97,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Figure:
    """One simulated mean with its standard error beside the published value (None where none was)."""

    value: float
    error: float
    published: float | None = None

    @classmethod
    def of(cls, values: NDArray[np.float64], published: float | None = None) -> Figure:
        """The mean of independent runs."""
        return cls(float(values.mean()), float(values.std() / np.sqrt(values.size)), published)

    def above(self, bound: float) -> bool:
        """Whether the figure lies above `bound` by more than the simulation's own error."""
        return self.value - SE * self.error > bound


@dataclass(frozen=True, slots=True)
class Results:
    """Everything simulated. `campaigns` maps (n, k, column) to inflation in points and false promotions."""

    campaigns: dict[tuple[int, int, str], tuple[Figure, Figure]]
    adversary: dict[str, Figure]
    power: dict[tuple[float, float], tuple[int, Figure]]
    repeated: dict[str, Figure]

    def failures(self) -> list[str]:
        """A sentence for each promise of the gate, and each published inflation, that the simulation breaks."""
        found = [
            f"n={n}, k={k}: {false.value:.3f} false promotions in a campaign, above alpha = {ALPHA}."
            for (n, k, column), (_, false) in self.campaigns.items()
            if column == COLUMNS[-1] and false.above(ALPHA)
        ]
        found += [
            f"n={n}, k={k}, {column}: {points.value:+.1f} points of inflation, published {points.published:+.1f}."
            for (n, k, column), (points, _) in self.campaigns.items()
            if points.published is not None
            and abs(points.value - points.published) > POINTS_OFF + SE * points.error
        ]
        found += [
            f"A gain of {gain:.0%} at a discordance of {spread:.0%} passes {figure.value:.3f} of the time on {n} "
            f"items, less than {POWER}."
            for (spread, gain), (n, figure) in self.power.items()
            if figure.value < POWER - POWER_OFF
        ]
        found += [
            f"{name}: {figure.value:.3f} of the candidates pass, above alpha = {ALPHA}."
            for name, figure in self.repeated.items()
            if name.startswith("gate") and figure.above(ALPHA)
        ]
        return found


def decider(column: str, k: int) -> Callable[[int, int, int], bool]:
    """(n, wins, losses) to whether the column's rule accepts the candidate."""
    level = {"p < .05": ALPHA, "gate, alpha/k": corrected_alpha(ALPHA, k, 1)}

    @cache
    def accepts(n: int, wins: int, losses: int) -> bool:
        if column == "best score":
            return wins > losses
        found = paired(n, wins, losses)
        if column == "Ladder, 1 s.e.":
            return keeps(found)[0]
        return rule(found, Rules(level[column], -1.0 if column == "p < .05" else 0.0)).passed

    return accepts


def paired(n: int, wins: int, losses: int) -> Comparison:
    """The comparison of two arms of right-or-wrong items that differ on wins + losses of n."""
    low, high = binary_interval(n, wins, losses)
    return Comparison(
        n=n,
        wins=wins,
        losses=losses,
        gain=(wins - losses) / n,
        low=low,
        high=high,
        p=mcnemar(wins, losses),
        test="exact McNemar",
        candidate=wins / n,
        incumbent=losses / n,
        missing_candidate=0,
        missing_incumbent=0,
        results=n,
    )


def accepted(accepts: Callable[[int, int, int], bool], new: Bits, old: Bits) -> Bits:
    """Which of many simulated candidates (runs x items) are accepted over their incumbents."""
    n = new.shape[1]
    codes = (new & ~old).sum(axis=1) * (n + 1) + (old & ~new).sum(axis=1)
    pairs, place = np.unique(codes, return_inverse=True)
    answers = np.array([accepts(n, int(code) // (n + 1), int(code) % (n + 1)) for code in pairs])
    return answers[place]


def campaigns(n: int, k: int, runs: int, rng: np.random.Generator) -> dict[str, tuple[Figure, Figure]]:
    """A row of the table: what each rule reports after k candidates on n items, none better than the first."""
    row = {}
    for column, published in zip(COLUMNS, PUBLISHED[n, k], strict=True):
        accepts = decider(column, k)
        leader = rng.random((runs, n), np.float32) < ACCURACY
        promotions = np.zeros(runs)
        for _ in range(k):
            answers = rng.random((runs, n), np.float32) < ACCURACY
            candidate = np.where(rng.random((runs, n), np.float32) < REDRAWN, answers, leader)
            taken = accepted(accepts, candidate, leader)
            leader[taken] = candidate[taken]
            promotions += taken
        inflation = 100 * (leader.mean(axis=1) - ACCURACY)
        row[column] = Figure.of(inflation, published[0]), Figure.of(promotions, published[1])
    return row


def adversary(runs: int, rng: np.random.Generator, n: int = 100, k: int = 20) -> dict[str, Figure]:
    """Points that random answers seem to gain when k queries are answered by scores, by a greedy bit, by the gate."""
    right = rng.random((k, runs, n), np.float32) < 0.5
    leans = np.where(right.mean(axis=2) > 0.5, 1, -1)[:, :, None]
    votes = (np.where(right, 1, -1) * leans).sum(axis=0)
    scores = np.where(votes == 0, 0.5, votes > 0)
    found = {"released scores": scores}
    for name, column in (("the bit of a greedy rule", "best score"), ("the bit of the gate", COLUMNS[-1])):
        accepts = decider(column, k)
        leader = rng.random((runs, n), np.float32) < 0.5
        for candidate in right:
            taken = accepted(accepts, candidate, leader)
            leader[taken] = candidate[taken]
        found[name] = leader
    return {name: Figure.of(100 * (bits.mean(axis=1) - 0.5), ADVERSARY[name]) for name, bits in found.items()}


def power(runs: int, rng: np.random.Generator) -> dict[tuple[float, float], tuple[int, Figure]]:
    """How often a true gain passes on as many items as `items_needed` asks for, at k = 20."""
    level = corrected_alpha(ALPHA, 20, 1)
    accepts, table = decider(COLUMNS[-1], 20), {}
    for (spread, gain), published in POWER_TABLE.items():
        n = items_needed(gain, spread, level, POWER)
        shares = [(spread + gain) / 2, (spread - gain) / 2, 1 - spread]
        counts = rng.multinomial(n, shares, size=runs)
        passed = np.array([accepts(n, int(wins), int(losses)) for wins, losses, _ in counts], dtype=float)
        table[spread, gain] = (
            n,
            Figure(float(passed.mean()), float(passed.std() / np.sqrt(runs)), float(published)),
        )
    return table


def repeated_trials(runs: int, rng: np.random.Generator, n: int = 100, trials: int = 5) -> dict[str, Figure]:
    """How often a candidate without gain passes at `ALPHA` when its trials repeat each other, and when they do not."""
    found: dict[str, list[float]] = {}
    for kind in ("same answer in every trial", "answers vary by trial"):
        for seed in range(runs):
            if kind.startswith("same"):
                redrawn = rng.random((n, 1)) < REDRAWN
                old = np.repeat(rng.random((n, 1)) < 0.5, trials, axis=1)
                new = np.where(redrawn, rng.random((n, 1)) < 0.5, old)
            else:
                chance = rng.beta(1, 1, (n, 1))
                old, new = (rng.random((n, trials)) < chance for _ in range(2))
            ahead, behind = new.astype(float), old.astype(float)
            alone = cmh(ahead, behind)
            units = sign_flip(ahead.mean(axis=1) - behind.mean(axis=1), 400, seed)
            found.setdefault(f"CMH alone, {kind}", []).append(float(alone <= ALPHA))
            found.setdefault(f"gate, {kind}", []).append(float(max(alone, units) <= ALPHA))
    return {name: Figure.of(np.array(values)) for name, values in found.items()}


def bench_gate(runs: int, seed: int, say: Say) -> Results:
    """Simulate everything from one seed, `runs` campaigns a row."""
    rng = np.random.default_rng(seed)
    table: dict[tuple[int, int, str], tuple[Figure, Figure]] = {}
    for n, k in PUBLISHED:
        say(f"{runs} campaigns with {k} candidates on {n} items")
        table.update({(n, k, name): cell for name, cell in campaigns(n, k, runs, rng).items()})
    say("the adversary, several trials, power")
    return Results(table, adversary(runs, rng), power(20 * runs, rng), repeated_trials(2 * runs, rng))
