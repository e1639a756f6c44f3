"""The stop switch: one person stops a task or everything, two people resume. Needs the database alone."""

from __future__ import annotations

from typing import Any

from governance.actions.base import act, check_reason, move, note
from governance.actions.endings import ask_to_end
from governance.actors import Actor
from governance.audit.log import Facts, record
from governance.errors import BadInput
from governance.models import Halt, Proposal
from governance.policy import policy_facts, policy_now
from governance.rules import check_may_resume, check_may_stop, minute
from governance.transitions import OPEN, Status


@act("stop", durable=True)
def stop(*, scope: str, reason: str, by: Actor) -> Halt:
    """Stop one task (its slug) or everything (""): nothing is proposed, verified, promoted or run until two resume.

    Every open proposal in scope is quarantined for good and must be proposed again. What is live stays the live release
    and can be reverted, but serving gets no lease on it. Raises BadInput when the scope is stopped already, NotAllowed
    for people without a working role.
    """
    check_may_stop(by)
    text = check_reason(reason, policy_now().min_reason)
    known = Halt.objects.filter(scope=scope, resumed_at__isnull=True).first()
    if known is not None:
        raise BadInput(f"{scope or 'Everything'} was stopped already, on {minute(known.stopped_at)}.")
    halt = Halt.objects.create(scope=scope, reason=text, stopped_by=by.ref)
    condition: dict[str, Any] = {"task__slug": scope} if scope else {}
    held = (
        Proposal.objects.select_for_update(of=("self",)).filter(status__in=OPEN, **condition).order_by("pk")
    )
    entry = _record("stop", halt, text, by, {"quarantined": [proposal.ref for proposal in held]})
    for proposal in held:
        move(proposal, Status.QUARANTINED, status_reason=f"Stopped: {text}")
        note(by, "proposal.quarantined", proposal, reason=text, cause=entry)
    return halt


@act("resume", durable=True)
def resume(*, scope: str, reason: str, by: Actor) -> Halt:
    """Ask to resume what was stopped; the second person who asks ends the stop.

    Raises BadInput when nothing is stopped there, NotAllowed unless an operator or an owner asks, each once.
    """
    halt = Halt.objects.select_for_update().filter(scope=scope, resumed_at__isnull=True).first()
    if halt is None:
        raise BadInput(f"{scope or 'Everything'} is not stopped.")
    person = check_may_resume(halt, by)
    text = check_reason(reason, policy_now().min_reason)
    asked = ask_to_end(halt, person, asked="resumed_by", ended="resumed_at")
    _record("resume", halt, text, by, {"asked": asked, "over": halt.resumed_at is not None})
    return halt


def _record(action: str, halt: Halt, reason: str, by: Actor, detail: dict[str, Any]) -> str:
    facts = Facts(
        reason=reason, policy=policy_facts(), task=halt.scope, detail={"scope": halt.scope, **detail}
    )
    entry = record(by=by, action=action, subject=("halt", str(halt.pk)), facts=facts)
    return str(entry.entry()["id"])
