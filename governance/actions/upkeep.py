"""Acts of the clock: what is past its date expires, what lost its ground goes stale."""

from __future__ import annotations

from datetime import datetime

from governance.actions.base import act, lapse
from governance.actions.promoting import promote
from governance.actors import CLOCK, Actor
from governance.models import Proposal
from governance.policy import policy_now
from governance.rules import Standing, check_is_clock, counted_approvals, standing
from governance.subjects import current_subject, what_moved
from governance.transitions import DECIDABLE, Status


@act("proposal.expire_due")
def expire_due(*, now: datetime, by: Actor = CLOCK) -> list[Proposal]:
    """Expire proposals past their date, and approved ones whose approvals no longer make the quorum."""
    check_is_clock(by)
    expired = []
    for proposal in (
        Proposal.objects.select_for_update(of=("self",)).filter(status__in=DECIDABLE).order_by("pk")
    ):
        why = _why_expired(proposal, now)
        if why:
            lapse(proposal, Status.EXPIRED, why)
            expired.append(proposal)
    return expired


def promote_due(*, by: Actor = CLOCK) -> list[Proposal]:
    """Promote what the policy in force lets go live without a person; each is an act of its own.

    What one of them made stale is left alone. Raises what `promote` raises: without a signer nothing goes live by
    itself either.
    """
    check_is_clock(by)
    promoted = []
    for proposal in Proposal.objects.filter(status=Status.APPROVED).order_by("pk"):
        policy = policy_now()
        proposal.refresh_from_db()
        if proposal.status == Status.APPROVED and policy.lane(proposal.lane).approvals == 0:
            reason = f"Policy {policy.name} {policy.version} asks for no approval."
            promote(proposal=proposal, reason=reason, by=by)
            promoted.append(proposal)
    return promoted


@act("proposal.refresh_stale")
def refresh_stale(*, by: Actor = CLOCK) -> list[Proposal]:
    """Make every decidable proposal stale whose subject moved; the cause is kept in words."""
    check_is_clock(by)
    stale = []
    for proposal in (
        Proposal.objects.select_for_update(of=("self",)).filter(status__in=DECIDABLE).order_by("pk")
    ):
        moved = what_moved(proposal.subject, current_subject(proposal))
        if moved:
            lapse(proposal, Status.STALE, moved)
            stale.append(proposal)
    return stale


def _why_expired(proposal: Proposal, now: datetime) -> str:
    if proposal.expires_at is not None and proposal.expires_at <= now:
        return f"It was not promoted by {proposal.expires_at:%Y-%m-%d %H:%M} UTC."
    if proposal.status == Status.APPROVED:
        rules = standing(proposal)
        counted = counted_approvals(proposal, Standing(rules.policy, rules.lane, now))
        if len(counted) < rules.lane.approvals:
            return f"Only {len(counted)} of its {rules.lane.approvals} approvals still count."
    return ""
