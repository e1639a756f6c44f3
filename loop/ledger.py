"""The ledger of hidden queries across campaigns: what one hidden set has answered, and what it may still answer.

A hidden set is known by its commitment, so that new evaluator code over the same items does not start a new count.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction
from django.db.models import Sum

from governance.models import Version
from governance.policy import policy_now
from governance.transitions import Status
from loop.errors import BudgetSpent
from loop.models import HiddenQuery, Verification

GONE_LIVE = (Status.PROMOTED, Status.SUPERSEDED, Status.REVERTED)


@dataclass(frozen=True, slots=True)
class HiddenBudget:
    """Queries that a hidden set has answered in all campaigns, and how many the policy in force allows.

    `lost` are those that ended in an outage: they have their places in the ledger and got no answer.
    """

    hidden_set: str
    used: int
    lost: int
    allowed: int

    @property
    def next_place(self) -> int:
        """The place in the ledger of the next query, from 1."""
        return self.used + self.lost + 1

    def check(self) -> None:
        """Raises BudgetSpent when the hidden set may answer nothing more."""
        if self.used >= self.allowed:
            raise BudgetSpent(
                f"The hidden set {self.hidden_set[:12]} has answered {self.used} queries and the policy allows "
                f"{self.allowed}; people have to bring fresh hidden data as a new evaluator epoch."
            )


def hidden_set_of(evaluator: Version) -> str:
    """The commitment that names the hidden set of an evaluator version."""
    return str(evaluator.manifest["hidden_commitment"])


def hidden_budget(evaluator: Version) -> HiddenBudget:
    """How much of the evaluator's hidden set is used up, under the policy in force."""
    hidden_set = hidden_set_of(evaluator)
    policy = policy_now()
    used, lost = answered(hidden_set)
    return HiddenBudget(hidden_set, used, lost, policy.gate.hidden_queries_per_epoch)


def answered(hidden_set: str, place: int | None = None) -> tuple[int, int]:
    """How many queries a hidden set has answered or is to answer, and how many an outage took; up to `place`."""
    queries = HiddenQuery.objects.filter(hidden_set=hidden_set)
    if place is not None:
        queries = queries.filter(place__lte=place)
    lost = queries.filter(verification__status=Verification.Status.OUTAGE).count()
    return queries.count() - lost, lost


def claim_place(evaluator: Version) -> int:
    """The number of the next query on the evaluator's hidden set, from 1; call it in the transaction that writes it.

    Whoever claims first holds every evaluator version over this hidden set until its transaction ends, so that two
    campaigns on different workers never claim the same place. Raises BudgetSpent when the hidden set is used up.
    """
    assert transaction.get_connection().in_atomic_block
    rows = Version.objects.filter(
        kind=Version.Kind.EVALUATOR, manifest__hidden_commitment=hidden_set_of(evaluator)
    )
    list(rows.order_by("pk").select_for_update(no_key=True).values_list("pk", flat=True))
    budget = hidden_budget(evaluator)
    budget.check()
    return budget.next_place


def check_may_ask(evaluator: Version, correction: str) -> HiddenBudget:
    """What is left of the evaluator's hidden set, when a campaign under `correction` may ask it something.

    Raises BudgetSpent when it is used up, or when the correction counts on hidden data that decided no promotion yet
    and these did.
    """
    budget = hidden_budget(evaluator)
    budget.check()
    gone_live = HiddenQuery.objects.filter(hidden_set=budget.hidden_set, proposal__status__in=GONE_LIVE)
    if correction == "fresh-slice" and gone_live.exists():
        raise BudgetSpent(
            f"gate.correction is fresh-slice and a release went live on the hidden set {budget.hidden_set[:12]} "
            "already; bring fresh hidden data as a new evaluator epoch, or set gate.correction to budget."
        )
    return budget


def level_spent(hidden_set: str, place: int) -> float:
    """The levels of a hidden set's queries up to `place`, summed: a bound on the chance of a false first promotion.

    Queries lost to an outage stay in the sum, so that it holds whatever made the model fail.
    """
    queries = HiddenQuery.objects.filter(hidden_set=hidden_set, place__lte=place)
    return float(queries.aggregate(total=Sum("alpha"))["total"] or 0.0)
