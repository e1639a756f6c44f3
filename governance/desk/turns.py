"""Whose turn it is, for whole lists of proposals at once. The rules themselves stay in governance/rules.py.

A list can be long, so this reads what was fetched already and asks the database nothing; the proposal's own page
and every act ask the rules.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

from governance.desk.base import Visitor
from governance.models import Proposal
from governance.policy import Policy
from governance.transitions import DECIDABLE, Status

Turn: TypeAlias = Literal["review", "promote", "acknowledge", ""]


def turn_of(proposal: Proposal, visitor: Visitor, policy: Policy, now: datetime) -> Turn:
    """What this visitor could do next about a proposal whose reviews were prefetched; empty when nothing."""
    lane = policy.lane("revert" if proposal.review_due else proposal.lane)
    may_judge = lane.role in visitor.roles and visitor.person.ref not in proposal.excluded
    if proposal.review_due:
        return "acknowledge" if may_judge else ""
    if proposal.status not in DECIDABLE or (proposal.expires_at is not None and proposal.expires_at <= now):
        return ""
    if proposal.status == Status.APPROVED:
        return "promote" if visitor.roles & policy.promoter_roles else ""
    seen = {
        (review.person_id, review.subject_digest)
        for review in proposal.reviews.all()
        if review.expires_at > now
    }
    reviewed = (visitor.person.pk, proposal.subject_digest) in seen
    return "review" if may_judge and not reviewed else ""
