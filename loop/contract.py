"""The contract of a campaign: what it may spend and what counts as better, fixed and hashed before it starts. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from loop.errors import BudgetSpent, TaskError
from loop.gate import Rules, corrected_alpha, fresh_slice_alpha, open_ended_alpha
from loop.gate_spec import Field, SliceSpec
from loop.types import Lever


@dataclass(frozen=True, slots=True)
class Budgets:
    """What a campaign may use up: generations, seconds of wall time, tokens, US dollars, hidden-test queries."""

    generations: int = 6
    wall_s: float = 3600.0
    tokens: int = 20_000_000
    cost_usd: float = 10.0
    hidden_queries: int = 10


@dataclass(frozen=True, slots=True)
class Contract:
    """Everything that is decided before the first rollout and cannot be changed afterwards.

    `alpha` is the family-wise level, `alpha_query` the one that `correction` makes of it for the first hidden query:
    every later one is held to the same, or to a stricter one when the correction is open-ended (see `level`). `trials`
    are run per arm with `trial_seeds`, the same in both. `slices` and `cluster` say how hidden items belong together.
    `hidden_set` is the commitment of the hidden data, `hidden_used` of `hidden_allowed` queries it had answered before.
    `smallest_visible_gain` supposes that the arms differ on a share `discordance` of the items; None: it shows nothing.
    `plateau` is the number of harness generations without a gain after which the lever counts as exhausted. Digests
    name what was in force.
    `cache_replies` answers repeated model calls on public-val from a cache, at no cost.
    """

    task: str
    metric: str
    higher_is_better: bool
    evaluator: str
    policy: str
    base_release: str
    profile: str
    seed: int
    levers: tuple[str, ...]
    budgets: Budgets = Budgets()
    alpha: float = 0.05
    alpha_query: float = 0.005
    promotions: int = 1
    smallest_gain: float = 0.0
    plateau: int = 2
    correction: str = "budget"
    test: str = ""
    trials: int = 1
    trial_seeds: tuple[int, ...] = ()
    cluster: Field | None = None
    slices: tuple[SliceSpec, ...] = ()
    hidden_set: str = ""
    hidden_used: int = 0
    hidden_allowed: int = 0
    hidden_items: int = 0
    discordance: float = 0.3
    smallest_visible_gain: float | None = None
    cache_replies: bool = False
    submit: str = "the best accepted release, once, after the last generation"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, as it is hashed, logged and stored."""
        return {
            **asdict(self),
            "levers": list(self.levers),
            "trial_seeds": list(self.trial_seeds),
            "slices": [{**asdict(each), "values": list(each.values)} for each in self.slices],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Contract:
        """The contract back from its JSON."""
        cluster = data.get("cluster")
        read = {
            "levers": tuple(data["levers"]),
            "budgets": Budgets(**data["budgets"]),
            "trial_seeds": tuple(data.get("trial_seeds", ())),
            "cluster": Field(**cluster) if cluster else None,
            "slices": tuple(_slice(each) for each in data.get("slices", ())),
        }
        return cls(**{**data, **read})

    def rules(self, level: float | None = None) -> Rules:
        """What one hidden query held to `level` (by default `alpha_query`) must show."""
        return Rules(level or self.alpha_query, self.smallest_gain, self.higher_is_better)

    def level(self, place: int) -> float:
        """The level of the hidden set's `place`-th query over all campaigns, were it asked under this contract."""
        return query_level(self.alpha, self.budgets, self.promotions, self.correction, place)

    def seeds(self) -> tuple[int, ...]:
        """The seed of each trial."""
        return self.trial_seeds or (self.seed,)


def _slice(data: Mapping[str, Any]) -> SliceSpec:
    return SliceSpec(**{**data, "where": Field(**data["where"]), "values": tuple(data["values"])})


def trial_seeds(seed: int, trials: int) -> tuple[int, ...]:
    """The contract's own seed for the first trial, and for each further one a number below 2^31 made from it."""
    made = (hashlib.sha256(f"{seed} trial {trial}".encode()).digest() for trial in range(1, trials))
    return (seed, *(int.from_bytes(digest[:4]) >> 1 for digest in made))


def query_level(
    alpha: float, budgets: Budgets, promotions: int, correction: str = "budget", place: int = 1
) -> float:
    """The corrected level of one hidden query, the `place`-th of its hidden set.

    `budget`: the campaign's queries and promotions. `fresh-slice`: the same where the hidden data are fresh after each
    promotion. `open-ended`: all queries of the hidden set together, however many come. Raises TaskError when the
    numbers cannot be a contract.
    """
    try:
        if correction == "open-ended":
            return open_ended_alpha(alpha, place)
        rule = fresh_slice_alpha if correction == "fresh-slice" else corrected_alpha
        return rule(alpha, budgets.hidden_queries, promotions)
    except ValueError as error:
        raise TaskError(
            f"{error} Ask for at least one hidden query and no more promotions than queries."
        ) from error


@dataclass(frozen=True, slots=True)
class Spent:
    """What a campaign has used so far, in the units of Budgets."""

    wall_s: float = 0.0
    tokens: int = 0
    cost_usd: float = 0.0

    def as_json(self) -> dict[str, float | int]:
        """Plain JSON, as it is stored on the campaign."""
        return asdict(self)

    def plus(self, *, wall_s: float = 0.0, tokens: int = 0, cost_usd: float = 0.0) -> Spent:
        """The sum after one more step."""
        return Spent(self.wall_s + wall_s, self.tokens + tokens, self.cost_usd + cost_usd)


def check_budgets(spent: Spent, budgets: Budgets) -> None:
    """Raise BudgetSpent, naming the budget, when one is used up. Generations and queries are counted elsewhere."""
    if spent.wall_s >= budgets.wall_s:
        raise BudgetSpent(f"The wall time of {budgets.wall_s:.0f} s is used up ({spent.wall_s:.0f} s).")
    if spent.tokens >= budgets.tokens:
        raise BudgetSpent(f"The budget of {budgets.tokens} tokens is used up ({spent.tokens}).")
    if spent.cost_usd >= budgets.cost_usd:
        raise BudgetSpent(f"The budget of ${budgets.cost_usd:.2f} is used up (${spent.cost_usd:.2f}).")


LEVERS = (Lever.HARNESS.value, Lever.WEIGHTS.value)
