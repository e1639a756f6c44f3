"""Breaking the glass: an unverified release live for a few hours, and the clock that takes it back."""

from __future__ import annotations

import uuid
from datetime import datetime

from governance.actions.base import act, check_reason, locked
from governance.actions.proposing import EvidenceItem, keep_evidence, make_ready
from governance.actions.reverting import carry_out_revert, revert_proposal
from governance.actors import CLOCK, Actor
from governance.errors import BadInput
from governance.lineage import check_not_held
from governance.models import Proposal, Release
from governance.pointers import current_digest, release_key
from governance.policy import policy_now
from governance.rules import check_is_clock, check_may_break_glass, check_not_stopped
from governance.transitions import Status

LANE = "break_glass"
UNVERIFIED = (
    b'["Everything: in an emergency nothing is verified; the release goes back by itself unless reviewed."]'
)


@act("proposal.break_glass", durable=True)
def break_glass(*, release: Release, reason: str, by: Actor) -> Proposal:
    """Propose any registered release of a task without verification, for an emergency.

    Two more operators must approve; once promoted it goes back by itself after the policy's hours unless a reviewer
    acknowledges it. Raises NotAllowed unless an operator asks, while stopped and for what is held, BadInput for a
    reason shorter than the policy demands.
    """
    check_may_break_glass(by)
    task = release.task
    check_not_stopped(task.slug)
    check_not_held(release)
    policy = policy_now()
    text = check_reason(reason, policy.break_glass.min_reason)
    key, base = release_key(task), current_digest(release_key(task))
    if not base:
        raise BadInput(f"Nothing is live on {task.slug} that this could replace; install the first release.")
    if release.digest == base:
        raise BadInput(f"{release.digest[:12]} is live already.")
    hours = policy.break_glass.lasts.total_seconds() / 3600
    proposal = Proposal.objects.create(
        ref=str(uuid.uuid4()),
        kind=Proposal.Kind.BREAK_GLASS,
        status=Status.VERIFYING,
        lane=LANE,
        lane_reason=f"The glass is broken: nothing was verified; it goes back after {hours:g} hours unless reviewed.",
        title=f"Emergency: {release.digest[:12]} on {task.slug}",
        summary=text,
        task=task,
        release=release,
        key=key,
        target=release.digest,
        base=base,
        excluded=[by.ref],
        proposed_by=by.ref,
    )
    listed = keep_evidence(
        proposal,
        [
            EvidenceItem("not_tested", "application/json", UNVERIFIED),
            EvidenceItem("emergency", "text/plain", text.encode()),
        ],
    )
    return make_ready(proposal, policy, text, listed, by)


@act("pointer.revert_due")
def revert_due(*, now: datetime, by: Actor = CLOCK) -> list[Proposal]:
    """Take back every broken glass that nobody reviewed in time; returns the reverts."""
    check_is_clock(by)
    due = Proposal.objects.filter(status=Status.PROMOTED, review_due=True, reverts_at__lte=now).order_by("pk")
    return [_take_back(locked(proposal), by) for proposal in due]


def _take_back(broken: Proposal, by: Actor) -> Proposal:
    assert broken.task is not None
    reason = f"Nobody reviewed the emergency {broken.ref[:8]} in time, so it goes back by itself."
    return carry_out_revert(revert_proposal(broken.task, broken.base, reason, by), reason, by)
