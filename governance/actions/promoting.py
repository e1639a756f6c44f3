"""Promotion: make an approved proposal's target live."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone

from governance.actions.base import act, check_reason, check_subject, lapse_all, locked, move
from governance.actions.moves import Move, carry_out, check_signer
from governance.actions.people import apply_roster
from governance.actors import Actor
from governance.against_log import check_against_log
from governance.audit.checkpoints import make_checkpoint
from governance.errors import Stale
from governance.lineage import check_not_held
from governance.models import AuditEntry, PointerMove, Proposal, Review, Version
from governance.pointers import kind_of
from governance.policy import policy_now
from governance.rules import check_may_promote, standing
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
    check_not_held(proposal.release, proposal.version)
    text = check_reason(reason, standing(proposal).policy.min_reason)
    check_against_log(proposal, approvals)
    check_signer()
    move(proposal, Status.PROMOTING)
    _consume(approvals)
    retire(proposal.key, Status.SUPERSEDED, f"Superseded by {proposal.title}.")
    detail = {
        "lane": proposal.lane,
        "excluded": proposal.excluded,
        "consumed": [{"nonce": given.nonce, "ref": given.person.ref} for given in approvals],
        **_emergency(proposal),
    }
    if proposal.version is not None and proposal.version.kind == Version.Kind.ROSTER:
        apply_roster(proposal.version, by)
    move(proposal, Status.PROMOTED, status_reason=text)
    moved, entry = carry_out(move_of(proposal, PointerMove.Kind.PROMOTE, text), by, detail)
    make_others_stale(proposal, entry)
    transaction.on_commit(make_checkpoint, robust=True)
    return moved


def move_of(proposal: Proposal, kind: PointerMove.Kind, reason: str) -> Move:
    """The move of the pointer that a proposal asks for."""
    return Move(
        proposal.key, kind, proposal.base, proposal.target, reason, proposal.ref, proposal.subject_digest
    )


def _emergency(proposal: Proposal) -> dict[str, Any]:
    """For a broken glass: until when it lasts, on the proposal and for the log; nothing for anything else."""
    if proposal.kind != Proposal.Kind.BREAK_GLASS:
        return {}
    until = timezone.now() + policy_now().break_glass.lasts
    Proposal.objects.filter(pk=proposal.pk).update(review_due=True, reverts_at=until)
    return {"reverts_at": until.isoformat(timespec="milliseconds")}


def _consume(approvals: list[Review]) -> None:
    """Use each approval once. Raises Stale when one was used meanwhile."""
    unused = Review.objects.filter(pk__in=[given.pk for given in approvals], consumed_at__isnull=True)
    if unused.update(consumed_at=timezone.now()) != len(approvals):
        raise Stale("One of these approvals was used already; look again.")


def retire(key: str, status: Status, why: str) -> None:
    """Move the proposal that made the present version live on, if a proposal did."""
    for live in Proposal.objects.select_for_update(of=("self",)).filter(key=key, status=Status.PROMOTED):
        move(live, status, status_reason=why)


def make_others_stale(proposal: Proposal, entry: AuditEntry) -> None:
    """What was open over the same pointer, under the same evaluator or under the old policy has lost its ground."""
    what = {
        "release": "live release",
        "evaluator": "evaluator in force",
        "policy": "policy in force",
        "roster": "roster",
    }
    kind = kind_of(proposal.key)
    conditions: dict[str, dict[str, Any]] = {
        "release": {"key": proposal.key},
        "evaluator": {"task": proposal.task},
        "policy": {},
        "roster": {"key": proposal.key},
    }
    lapse_all(conditions[kind], f"The {what[kind]} moved: {proposal.title}.", cause=str(entry.entry()["id"]))
