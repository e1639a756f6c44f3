"""Reverts: a former live release made live again at once, alone or for everything made from a bad version."""

from __future__ import annotations

import uuid

from django.db import transaction
from django.utils import timezone

from governance.actions.base import act, check_reason, move
from governance.actions.holding import keep_held, note_hold
from governance.actions.moves import carry_out, check_signer
from governance.actions.promoting import make_others_stale, move_of, retire
from governance.actors import Actor
from governance.audit.checkpoints import make_checkpoint
from governance.errors import BadInput, NotAllowed
from governance.lineage import check_not_held, live_descendants, newest_without
from governance.models import Hold, PointerMove, Proposal, Release, Task
from governance.pointers import current_digest, kind_of, release_key, task_of
from governance.policy import policy_now
from governance.rules import check_may_revert
from governance.subjects import current_subject, subject_digest
from governance.transitions import Status


@act("pointer.move", durable=True)
def revert(*, key: str, to_digest: str, reason: str, by: Actor) -> Proposal:
    """Make a former live release live again at once; the review comes afterwards.

    What was live is held: neither it nor anything made from it is promoted again before that is lifted.
    Raises BadInput for a digest that was never live under this key, NotAllowed unless an operator acts (an
    evaluator, a policy or a roster goes back by a proposal only) or while the target is held by people.
    """
    check_may_revert(by)
    task = task_of(key)
    if kind_of(key) != "release" or task is None:
        raise NotAllowed(
            "Only a live release can be reverted; an evaluator, a policy or a roster goes back by a proposal."
        )
    text = check_reason(reason, policy_now().min_reason)
    base = current_digest(key)
    if to_digest == base:
        raise BadInput(f"{to_digest[:12]} is live already.")
    if not PointerMove.objects.filter(key=key, digest=to_digest).exists():
        raise BadInput(
            f"{to_digest[:12]} was never live under {key}; only a former live release can come back."
        )
    target = Release.objects.get(digest=to_digest)
    check_not_held(target, but_for_reverts=True)
    _lift_for(to_digest, text, by)
    keep_held(base, text, by, automatic=True)
    return carry_out_revert(revert_proposal(task, to_digest, text, by), text, by)


@act("lineage.revert", durable=True)
def revert_lineage(*, digest: str, reason: str, by: Actor) -> list[Proposal]:
    """Hold a digest and, in every task whose live release was made from it, go back to the newest one that was not.

    A release that people hold is no way back. All of it or nothing. Raises BadInput when a task never had another live
    release, NotAllowed unless an operator acts.
    """
    check_may_revert(by)
    text = check_reason(reason, policy_now().min_reason)
    keep_held(digest, text, by)
    done = []
    for task, _ in live_descendants(digest):
        target = _way_back(task, digest).digest
        _lift_for(target, text, by)
        done.append(carry_out_revert(revert_proposal(task, target, text, by), text, by))
    return done


def _way_back(task: Task, digest: str) -> Release:
    found = newest_without(task, digest)
    if found is None:
        raise BadInput(
            f"Every release that was ever live on {task.slug} was made from {digest[:12]}, or people hold it."
        )
    return found


def _lift_for(digest: str, reason: str, by: Actor) -> None:
    """What an earlier revert took back may come back by another one."""
    held = Hold.objects.filter(digest=digest, automatic=True, lifted_at__isnull=True).first()
    if held is not None:
        Hold.objects.filter(pk=held.pk).update(lifted_by=[by.ref], lifted_at=timezone.now())
        note_hold("hold.lift", held, reason, by, {"asked": [by.ref], "over": True})


def revert_proposal(task: Task, to_digest: str, reason: str, by: Actor) -> Proposal:
    """The proposal, not saved yet, that takes a task back to a former live release at once."""
    key = release_key(task)
    return Proposal(
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
        base=current_digest(key),
        excluded=[by.ref],
        proposed_by=by.ref,
        status_reason=reason,
        review_due=True,
    )


def carry_out_revert(proposal: Proposal, reason: str, by: Actor) -> Proposal:
    """Save the proposal of a revert and move the pointer, as a part of the act that reverts."""
    check_signer()
    proposal.subject = current_subject(proposal)
    proposal.subject_digest = subject_digest(proposal.subject)
    proposal.save(force_insert=True)
    retire(proposal.key, Status.REVERTED, f"Reverted: {reason}")
    detail = {"lane": proposal.lane, "subject": proposal.subject}
    move(proposal, Status.PROMOTED)
    _, entry = carry_out(move_of(proposal, PointerMove.Kind.REVERT, reason), by, detail)
    make_others_stale(proposal, entry)
    transaction.on_commit(make_checkpoint, robust=True)
    return proposal
