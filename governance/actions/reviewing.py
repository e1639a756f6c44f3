"""Acts of reviewers: a verdict on one subject digest, and the review afterwards of a revert."""

from __future__ import annotations

import secrets

from django.utils import timezone

from governance.actions.base import act, check_reason, check_subject, locked, move, note
from governance.actors import Actor
from governance.attention import attention_of
from governance.errors import BadInput, Stale
from governance.models import Proposal, Review
from governance.rules import check_may_acknowledge, check_may_review, counted_approvals, standing
from governance.transitions import Status

MOVES = {
    Review.Verdict.REJECT: Status.REJECTED,
    Review.Verdict.REQUEST_CHANGES: Status.CHANGES_REQUESTED,
}


@act("proposal.review", durable=True)
def review(*, proposal: Proposal, verdict: str, reason: str, subject_digest: str, by: Actor) -> Review:
    """Give one verdict on the subject that was shown: approve, reject or request_changes, with a reason.

    The approval that completes the lane's quorum makes the proposal approved. Raises NotAllowed for people
    without the lane's role or with a part in the change, Stale when the subject shown is not the subject now.
    """
    proposal = locked(proposal)
    person = check_may_review(proposal, by)
    rules = standing(proposal)
    text = check_reason(reason, rules.policy.min_reason)
    if verdict not in Review.Verdict.values:
        raise BadInput(f"{verdict!r} is no verdict; use one of {', '.join(Review.Verdict.values)}.")
    if subject_digest != proposal.subject_digest:
        raise Stale("What you read is not what this proposal is now; reload it and read it again.")
    check_subject(proposal)
    attention = attention_of(proposal, person, by, rules.now)
    given = Review.objects.create(
        proposal=proposal,
        person=person,
        verdict=verdict,
        reason=text,
        subject_digest=subject_digest,
        round=proposal.reviews.filter(person=person, subject_digest=subject_digest).count() + 1,
        nonce=secrets.token_hex(16),
        created_at=rules.now,
        expires_at=rules.now + rules.policy.approvals_expire,
        **attention.facts(),
    )
    counted = len(counted_approvals(proposal, rules))
    _settle(proposal, Review.Verdict(verdict), text, counted >= rules.lane.approvals)
    detail = {
        "verdict": verdict,
        "nonce": given.nonce,
        "expires_at": given.expires_at.isoformat(timespec="milliseconds"),
        "lane": proposal.lane,
        "role": rules.lane.role,
        "approvals": counted,
        "approvals_needed": rules.lane.approvals,
        "status": proposal.status,
        "attention": attention.facts(),
    }
    note(by, "proposal.review", proposal, reason=text, detail=detail)
    return given


def _settle(proposal: Proposal, verdict: Review.Verdict, reason: str, quorum: bool) -> None:
    if verdict in MOVES:
        move(proposal, MOVES[verdict], status_reason=reason)
    elif quorum and proposal.status != Status.APPROVED:
        move(proposal, Status.APPROVED, status_reason="")
    elif proposal.status == Status.READY:
        move(proposal, Status.IN_REVIEW)


@act("proposal.acknowledge", durable=True)
def acknowledge(*, proposal: Proposal, reason: str, by: Actor) -> Proposal:
    """Give the review afterwards that a revert waits for; not by whoever reverted."""
    proposal = locked(proposal)
    check_may_acknowledge(proposal, by)
    text = check_reason(reason, standing(proposal).policy.min_reason)
    Proposal.objects.filter(pk=proposal.pk).update(
        review_due=False, reverts_at=None, changed_at=timezone.now()
    )
    proposal.refresh_from_db()
    note(by, "proposal.acknowledge", proposal, reason=text)
    return proposal
