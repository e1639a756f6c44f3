"""Holds: one person keeps a bad version, and everything made from it, from going live; two lift that."""

from __future__ import annotations

from typing import Any

from governance.actions.base import act, check_reason, move, note
from governance.actions.endings import ask_to_end
from governance.actors import Actor
from governance.audit.log import Facts, record
from governance.errors import BadInput
from governance.lineage import stopped_by_hold_of
from governance.models import Hold, Proposal, Release, Version
from governance.policy import policy_facts, policy_now
from governance.rules import check_may_lift, check_may_revert
from governance.transitions import Status


@act("hold", durable=True)
def hold(*, digest: str, reason: str, by: Actor) -> Hold:
    """Keep a release or version, and every release made from it, from going live; open proposals of it are quarantined.

    Raises BadInput for an unknown digest or one that is held already, NotAllowed unless an operator acts.
    """
    check_may_revert(by)
    return place_hold(digest, check_reason(reason, policy_now().min_reason), by)


@act("hold.lift", durable=True)
def lift_hold(*, digest: str, reason: str, by: Actor) -> Hold:
    """Ask to lift a hold; the second person who asks lifts it. Raises BadInput when nothing is held there."""
    check_may_revert(by)
    held = Hold.objects.select_for_update().filter(digest=digest, lifted_at__isnull=True).first()
    if held is None:
        raise BadInput(f"{digest[:12]} is not held.")
    person = check_may_lift(held, by)
    text = check_reason(reason, policy_now().min_reason)
    asked = ask_to_end(held, person, asked="lifted_by", ended="lifted_at")
    note_hold("hold.lift", held, text, by, {"asked": asked, "over": held.lifted_at is not None})
    return held


def place_hold(digest: str, reason: str, by: Actor, *, automatic: bool = False) -> Hold:
    """Hold a digest as a part of the act that asks for it; `automatic` when a revert does.

    Raises BadInput for an unknown digest, or for one that people hold already.
    """
    known = Release.objects.filter(digest=digest).exists() or Version.objects.filter(digest=digest).exists()
    if not known:
        raise BadInput(f"{digest[:12]} is neither a release nor a version known here.")
    if Hold.objects.filter(digest=digest, lifted_at__isnull=True).exists():
        raise BadInput(f"{digest[:12]} is held already.")
    held = Hold.objects.create(digest=digest, reason=reason, held_by=by.ref, automatic=automatic)
    cause = note_hold("hold", held, reason, by, {"automatic": automatic})
    for pk in stopped_by_hold_of(digest):
        proposal = Proposal.objects.select_for_update(of=("self",)).get(pk=pk)
        move(proposal, Status.QUARANTINED, status_reason=f"Held: {reason}")
        note(by, "proposal.quarantined", proposal, reason=reason, cause=cause)
    return held


def keep_held(digest: str, reason: str, by: Actor, *, automatic: bool = False) -> None:
    """Hold a digest as a part of the act that asks for it, unless it is held already."""
    if not Hold.objects.filter(digest=digest, lifted_at__isnull=True).exists():
        place_hold(digest, reason, by, automatic=automatic)


def note_hold(action: str, held: Hold, reason: str, by: Actor, detail: dict[str, Any]) -> str:
    """The entry of an act on a hold; returns its id."""
    facts = Facts(reason=reason, policy=policy_facts(), before=held.digest, detail=detail)
    entry = record(by=by, action=action, subject=("digest", held.digest), facts=facts)
    return str(entry.entry()["id"])
