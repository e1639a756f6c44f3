"""The inbox: whose turn it is, what else is open, what was decided lately."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from governance.desk.base import Visitor, desk_page, sorted_roles
from governance.desk.evidence import epoch_of, read_json, score_delta
from governance.desk.turns import Turn, turn_of
from governance.errors import BadInput
from governance.models import Evidence, Proposal, Review
from governance.policy import Policy, policy_now
from governance.transitions import OPEN

LISTED = 100
DECIDED = 15
SHOWN = (
    "ref", "kind", "status", "lane", "title", "task__slug", "excluded", "subject_digest", "review_due", "created_at",
    "changed_at", "expires_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class InboxRow:
    """One proposal in a list. `delta` is the hidden difference in the metric's unit, None when not measured.

    `epoch` is the evaluator that measured it, empty where the evidence does not say.
    """

    proposal: Proposal
    turn: Turn
    delta: float | None
    epoch: str
    verdicts: int


@require_safe
@desk_page
def inbox(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Proposals that wait for the visitor first, then other open ones, then what was decided lately."""
    try:
        policy = policy_now()
    except BadInput as missing:
        return render(request, "desk/inbox.html", {"here": "inbox", "no_policy": str(missing)})
    due = Proposal.objects.filter(
        review_due__in=[True]
    )  # `= True` would be a bare column, which no index serves
    open_ones = list(_listed(Proposal.objects.filter(status__in=OPEN) | due)[:LISTED])
    decided = list(
        _listed(Proposal.objects.exclude(status__in=OPEN).filter(review_due=False), "-changed_at")[:DECIDED]
    )
    deltas = _deltas([*open_ones, *decided])
    rows = [_row(proposal, visitor, policy, deltas) for proposal in open_ones]
    context: dict[str, Any] = {
        "here": "inbox",
        "mine": [row for row in rows if row.turn],
        "others": [row for row in rows if not row.turn],
        "decided": [_row(proposal, visitor, policy, deltas) for proposal in decided],
        "roles": sorted_roles(visitor),
    }
    return render(request, "desk/inbox.html", context)


def _listed(rows: QuerySet[Proposal], order: str = "created_at") -> QuerySet[Proposal]:
    given = Review.objects.only("proposal", "person", "subject_digest", "expires_at")
    return (
        rows.order_by(order).select_related("task").prefetch_related(Prefetch("reviews", given)).only(*SHOWN)
    )


Deltas = dict[int, tuple[float | None, str]]


def _deltas(proposals: Iterable[Proposal]) -> Deltas:
    """By proposal: the hidden difference, and the evaluator epoch that it is of."""
    rows = Evidence.objects.filter(proposal__in=list(proposals), name="comparison")
    found = ((row.proposal_id, read_json(row)) for row in rows.only("proposal", "body"))
    return {pk: (score_delta(data), epoch_of(data)) for pk, data in found}


def _row(proposal: Proposal, visitor: Visitor, policy: Policy, deltas: Deltas) -> InboxRow:
    turn = turn_of(proposal, visitor, policy, timezone.now())
    verdicts = sum(review.subject_digest == proposal.subject_digest for review in proposal.reviews.all())
    return InboxRow(proposal, turn, *deltas.get(proposal.pk, (None, "")), verdicts)
