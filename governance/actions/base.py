"""What every act shares: one transaction, one entry, refusals recorded, moves by compare and swap."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from django.db import transaction
from django.utils import timezone

from governance.actors import CLOCK, Actor
from governance.audit.log import Facts, lock_head, record
from governance.audit.refusals import in_transaction, keep_refusal
from governance.audit.rows import explained
from governance.errors import BadInput, NotAllowed, Stale, SubjectMoved
from governance.models import AuditEntry, Person, Proposal, Task
from governance.policy import policy_facts
from governance.rules import check_may_move, words
from governance.subjects import current_subject, what_moved
from governance.transitions import OPEN, Status

P = ParamSpec("P")
R = TypeVar("R")


def act(action: str, *, durable: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a keyword-only function an act: all or nothing, and a refusal becomes a `denied` entry.

    A durable act (every one that only people do) refuses to run inside another transaction, so that neither
    it nor the record of its refusal can be undone from outside.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                with transaction.atomic(durable=durable), explained():
                    _take_turn()
                    return function(*args, **kwargs)
            except (NotAllowed, Stale) as refusal:
                if in_transaction():
                    keep_refusal(
                        _by(kwargs), action, _object_of(action, kwargs), str(refusal), _task_slug(kwargs)
                    )
                    raise
                with transaction.atomic(), explained():
                    _record_refusal(action, kwargs, refusal)
                raise

        return run

    return decorate


def _take_turn() -> None:
    """Wait until no other act is under way: acts follow one another, as their entries do, and never deadlock."""
    lock_head()


def _by(arguments: Mapping[str, Any]) -> Actor:
    by: Actor = arguments.get("by", CLOCK)
    return by


def _record_refusal(action: str, arguments: Mapping[str, Any], refusal: NotAllowed | Stale) -> None:
    by = _by(arguments)
    proposal = arguments.get("proposal")
    facts = Facts(
        outcome="denied",
        reason=str(refusal),
        subject_digest=proposal.subject_digest if isinstance(proposal, Proposal) else "",
        policy=policy_facts(),
        task=_task_slug(arguments),
    )
    entry = record(by=by, action=action, subject=_object_of(action, arguments), facts=facts)
    if isinstance(refusal, SubjectMoved):
        lapse(
            Proposal.objects.get(pk=refusal.proposal_pk),
            Status.STALE,
            str(refusal),
            cause=str(entry.entry()["id"]),
        )


def _object_of(action: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
    match arguments:
        case {"proposal": Proposal() as proposal}:
            return "proposal", proposal.ref
        case {"person": Person() as person}:
            return "person", person.ref
        case {"key": str() as key}:
            return "pointer", key[:100]
    return action.partition(".")[0], ""


def _task_slug(arguments: Mapping[str, Any]) -> str:
    match arguments:
        case {"proposal": Proposal(task=Task() as task)}:
            return task.slug
    return ""


def note(by: Actor, action: str, proposal: Proposal, **facts: Any) -> AuditEntry:
    """The entry of an act on a proposal, with the policy in force and the proposal's subject."""
    known = {
        "subject_digest": proposal.subject_digest,
        "policy": policy_facts(),
        "task": proposal.task.slug if proposal.task else "",
    }
    return record(by=by, action=action, subject=("proposal", proposal.ref), facts=Facts(**(known | facts)))


def locked(proposal: Proposal) -> Proposal:
    """The proposal as it is now, locked until the transaction ends."""
    beside = ("task", "release__task", "release__harness", "release__adapter", "version")
    return Proposal.objects.select_for_update(of=("self",)).select_related(*beside).get(pk=proposal.pk)


def move(proposal: Proposal, new: Status, **fields: Any) -> None:
    """Move a proposal by compare and swap and bring the object up to date.

    Raises NotAllowed when the table forbids the move and Stale when somebody else moved it first.
    """
    old = proposal.status
    check_may_move(old, new)
    fields |= {"status": new, "changed_at": timezone.now()}
    if Proposal.objects.filter(pk=proposal.pk, status=old).update(**fields) != 1:
        now = Proposal.objects.values_list("status", flat=True).get(pk=proposal.pk)
        raise Stale(
            f"This proposal was {words(old)} and is {words(now)} now; somebody was faster. Look again."
        )
    proposal.refresh_from_db()


def lapse(proposal: Proposal, status: Status, why: str, cause: str = "") -> None:
    """End an open proposal because time or the world moved on: an act of the clock, with its entry."""
    if proposal.status in OPEN:
        move(proposal, status, status_reason=why)
        note(CLOCK, f"proposal.{status}", proposal, reason=why, cause=cause)


def lapse_all(condition: Mapping[str, Any], why: str, cause: str) -> None:
    """Make every open proposal under this condition stale."""
    for other in (
        Proposal.objects.select_for_update(of=("self",)).filter(status__in=OPEN, **condition).order_by("pk")
    ):
        lapse(other, Status.STALE, why, cause)


def check_subject(proposal: Proposal) -> None:
    """Raises SubjectMoved when what the subject of a decidable proposal binds differs from the state of now."""
    moved = what_moved(proposal.subject, current_subject(proposal))
    if moved:
        raise SubjectMoved(f"{moved} It is stale and must be proposed again.", proposal.pk)


def check_reason(reason: str, minimum: int) -> str:
    """The reason without surrounding blanks. Raises BadInput when it is too short to say anything."""
    text = reason.strip()
    if len(text) < minimum:
        raise BadInput(f"Give a reason of at least {minimum} characters; it is kept with the decision.")
    return text
