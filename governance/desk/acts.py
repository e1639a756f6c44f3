"""What the forms of the desk share: the posted fields, the step-up, the answer to a refusal."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth import authenticate
from django.http import HttpRequest

from governance.actions import note_event
from governance.audit.log import Facts
from governance.desk.authentication import prove_factor
from governance.desk.base import Visitor
from governance.errors import BadInput, GovernanceError, NotAllowed, Stale
from governance.factors import kinds_of

REASON_MAX = 10_000  # characters


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a posted form was not carried out, with what was typed, so that nothing is lost."""

    sentence: str
    act: str
    reason: str
    status: int


def refusal_of(error: GovernanceError, request: HttpRequest) -> Refusal:
    """The answer to a refused act: 403 for a rule about people, 409 for what moved, 400 for a bad request."""
    status = 403 if isinstance(error, NotAllowed) else 409 if isinstance(error, Stale) else 400
    return Refusal(str(error), request.POST.get("act", ""), request.POST.get("reason", ""), status)


def posted_reason(request: HttpRequest) -> str:
    """The reason that was typed. Raises BadInput when it is absurdly long; the actions check its lower end."""
    reason = request.POST.get("reason", "").replace("\r\n", "\n")
    if len(reason) > REASON_MAX:
        raise BadInput(f"The reason has {len(reason):,} characters; keep it under {REASON_MAX:,}.")
    return reason


def check_step_up(request: HttpRequest, visitor: Visitor, subject: tuple[str, str]) -> None:
    """Raises NotAllowed, and records the refusal, unless the visitor proved again who they are.

    That takes their own password, and a second factor where they have one. The session goes on under a new key: one
    that was copied before ends here.
    """
    sentence = _why_not_stepped_up(request, visitor)
    if not sentence:
        request.session.cycle_key()
        return
    facts = Facts(outcome="denied", reason=sentence)
    note_event(by=visitor.actor, action="desk.step_up", subject=subject, facts=facts)
    raise NotAllowed(sentence)


def _why_not_stepped_up(request: HttpRequest, visitor: Visitor) -> str:
    user = visitor.person.user
    password = request.POST.get("password", "")
    try:
        found = authenticate(request, username=user.get_username(), password=password)
        if found is None or found.pk != user.pk:
            return "The password is not yours, so nothing was done; type it again to confirm."
        if kinds_of(visitor.person):
            prove_factor(request, visitor.person, request.POST.get("code", ""))
    except NotAllowed as refusal:
        return str(refusal)
    return ""
