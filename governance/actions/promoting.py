"""Acts that move what is live: promote an approved proposal, revert to a former live release."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import transaction
from django.utils import timezone

from governance.actions.base import act, check_reason, check_subject, lapse_all, locked, move
from governance.actions.moves import Move, carry_out, check_signer
from governance.actors import Actor
from governance.against_log import check_against_log
from governance.audit.checkpoints import make_checkpoint
from governance.errors import BadInput, NotAllowed, Stale
from governance.models import AuditEntry, PointerMove, Proposal, Release, Review
from governance.pointers import current_digest, kind_of, task_of
from governance.policy import policy_in_force
from governance.rules import check_may_promote, check_may_revert, standing
from governance.subjects import current_subject, subject_digest
from governance.transitions import Status


@act("pointer.move", durable=True)
def promote(*, proposal: Proposal, reason: str, by: Actor) -> PointerMove:
    """Make an approved proposal's target live: every guard again with today's roles and rules, then one swap.

    Raises NotAllowed for a missing role, quorum, cooling-off time or signer, and Stale when anything that
    the approvals bind has moved (the proposal then goes stale).
    """
    proposal = locked(proposal)
    approvals = check_may_promote(proposal, by)
    check_subject(proposal)
    text = check_reason(reason, standing(proposal).policy.min_reason)
    check_against_log(proposal, approvals)
    check_signer()
    move(proposal, Status.PROMOTING)
    _consume(approvals)
    _retire(proposal.key, Status.SUPERSEDED, f"Superseded by {proposal.title}.")
    detail = {
        "lane": proposal.lane,
        "excluded": proposal.excluded,
        "consumed": [{"nonce": given.nonce, "ref": given.person.ref} for given in approvals],
    }
    move(proposal, Status.PROMOTED, status_reason=text)
    moved, entry = carry_out(_move_of(proposal, PointerMove.Kind.PROMOTE, text), by, detail)
    _make_others_stale(proposal, entry)
    transaction.on_commit(make_checkpoint, robust=True)
    return moved


@act("pointer.move", durable=True)
def revert(*, key: str, to_digest: str, reason: str, by: Actor) -> Proposal:
    """Make a former live release live again at once; the review comes afterwards.

    Raises BadInput for a digest that was never live under this key, NotAllowed unless an operator acts (an
    evaluator or a policy goes back by a proposal only).
    """
    check_may_revert(by)
    task = task_of(key)
    if kind_of(key) != "release" or task is None:
        raise NotAllowed(
            "Only a live release can be reverted; an evaluator or a policy goes back by a proposal."
        )
    text = check_reason(reason, policy_in_force()[0].min_reason)
    base = current_digest(key)
    if to_digest == base:
        raise BadInput(f"{to_digest[:12]} is live already.")
    if not PointerMove.objects.filter(key=key, digest=to_digest).exists():
        raise BadInput(
            f"{to_digest[:12]} was never live under {key}; only a former live release can come back."
        )
    check_signer()
    proposal = Proposal(
        ref=str(uuid.uuid4()),
        kind=Proposal.Kind.REVERT,
        status=Status.PROMOTING,
        lane="revert",
        lane_reason="It makes a former live release live again; it is reviewed afterwards.",
        title=f"Revert {task.slug} to {to_digest[:12]}",
        task=task,
        release=Release.objects.get(digest=to_digest),
        key=key,
        target=to_digest,
        base=base,
        excluded=[by.ref],
        proposed_by=by.ref,
        status_reason=text,
        review_due=True,
    )
    return _carry_out_revert(proposal, text, by)


def _carry_out_revert(proposal: Proposal, reason: str, by: Actor) -> Proposal:
    proposal.subject = current_subject(proposal)
    proposal.subject_digest = subject_digest(proposal.subject)
    proposal.save(force_insert=True)
    _retire(proposal.key, Status.REVERTED, f"Reverted: {reason}")
    detail = {"lane": proposal.lane, "subject": proposal.subject}
    move(proposal, Status.PROMOTED)
    _, entry = carry_out(_move_of(proposal, PointerMove.Kind.REVERT, reason), by, detail)
    _make_others_stale(proposal, entry)
    transaction.on_commit(make_checkpoint, robust=True)
    return proposal


def _move_of(proposal: Proposal, kind: PointerMove.Kind, reason: str) -> Move:
    return Move(
        proposal.key, kind, proposal.base, proposal.target, reason, proposal.ref, proposal.subject_digest
    )


def _consume(approvals: list[Review]) -> None:
    """Use each approval once. Raises Stale when one was used meanwhile."""
    unused = Review.objects.filter(pk__in=[given.pk for given in approvals], consumed_at__isnull=True)
    if unused.update(consumed_at=timezone.now()) != len(approvals):
        raise Stale("One of these approvals was used already; look again.")


def _retire(key: str, status: Status, why: str) -> None:
    """Move the proposal that made the present version live on, if a proposal did."""
    for live in Proposal.objects.select_for_update(of=("self",)).filter(key=key, status=Status.PROMOTED):
        move(live, status, status_reason=why)


def _make_others_stale(proposal: Proposal, entry: AuditEntry) -> None:
    """What was open over the same pointer, under the same evaluator or under the old policy has lost its ground."""
    what = {"release": "live release", "evaluator": "evaluator in force", "policy": "policy in force"}
    kind = kind_of(proposal.key)
    conditions: dict[str, dict[str, Any]] = {
        "release": {"key": proposal.key},
        "evaluator": {"task": proposal.task},
        "policy": {},
    }
    lapse_all(conditions[kind], f"The {what[kind]} moved: {proposal.title}.", cause=str(entry.entry()["id"]))
