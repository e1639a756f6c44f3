"""The contract of a campaign: what it may spend and what counts as better, fixed and hashed before it starts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from loop.errors import BudgetSpent, TaskError
from loop.gate import Rules, corrected_alpha
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

    `alpha` is the family-wise level, `alpha_query` the one each hidden query is held to. `plateau` is the number of
    harness generations without a gain after which the lever counts as exhausted. Digests name what was in force.
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
    hidden_items: int = 0
    smallest_visible_gain: float | None = None
    cache_replies: bool = False
    submit: str = "the best accepted release, once, after the last generation"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, as it is hashed, logged and stored."""
        return {**asdict(self), "levers": list(self.levers)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Contract:
        """The contract back from its JSON."""
        values = dict(data)
        return cls(**{**values, "levers": tuple(values["levers"]), "budgets": Budgets(**values["budgets"])})

    def rules(self) -> Rules:
        """What one hidden query must show."""
        return Rules(self.alpha_query, self.smallest_gain, self.higher_is_better)


def query_level(alpha: float, budgets: Budgets, promotions: int) -> float:
    """The corrected level of one hidden query. Raises TaskError when the numbers cannot be a contract."""
    try:
        return corrected_alpha(alpha, budgets.hidden_queries, promotions)
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
