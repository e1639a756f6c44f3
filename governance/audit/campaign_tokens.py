"""Campaign tokens: a program's right to start campaigns on behalf of the operator who gave it. Nothing else.

They are no read tokens and read nothing; no rule about people takes them (governance/rules.py), so none decides.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from governance.actions.base import act
from governance.actors import Actor
from governance.audit.log import Facts, record
from governance.audit.tokens import draw, in_use
from governance.errors import BadInput, NotAllowed
from governance.models import CampaignToken, Person
from governance.policy import policy_facts
from governance.roles import AUDITOR, OPERATOR, OWNER
from governance.rules import check_may_start_by_token, check_role, minute

PREFIX = "pawl-campaign-"
MOST_DAYS = 90


@act("campaign_token.create", durable=True)
def create_campaign_token(*, name: str, days: int, by: Actor) -> str:
    """Let a program start campaigns for whoever gives the token, for so many days; it is shown this once.

    Raises NotAllowed unless an operator acts, BadInput for a name that is taken or cannot be used, or over 90 days.
    """
    person = check_role(by, {OPERATOR})
    if not 1 <= days <= MOST_DAYS:
        raise BadInput(f"A campaign token is given for 1 to {MOST_DAYS} days, not {days}.")
    token, digest = draw(CampaignToken, name, PREFIX)
    expires = timezone.now() + timedelta(days=days)
    CampaignToken.objects.create(name=name, sha256=digest, person=person.ref, expires_at=expires)
    detail = {"person": person.ref, "expires_at": expires.isoformat(timespec="seconds")}
    _record("campaign_token.create", name, by, detail)
    return token


@act("campaign_token.revoke", durable=True)
def revoke_campaign_token(*, name: str, by: Actor) -> None:
    """Take a token back: an operator, an auditor or an owner may. Raises BadInput when none by this name is in use."""
    check_role(by, {OPERATOR, AUDITOR, OWNER})
    if not CampaignToken.objects.filter(name=name, revoked_at=None).update(revoked_at=timezone.now()):
        raise BadInput(f"No campaign token {name!r} is in use.")
    _record("campaign_token.revoke", name, by, {})


def starter(token: str, now: datetime) -> tuple[Actor, Person] | None:
    """Who asks with this token, and the person on whose behalf; None for one that is unknown or revoked.

    Raises NotAllowed for one that expired, or whose person could not start campaigns now.
    """
    row = in_use(CampaignToken, token)
    if row is None:
        return None
    if row.expires_at <= now:
        raise NotAllowed(
            f"The campaign token {row.name!r} expired on {minute(row.expires_at)}; give a new one."
        )
    person = Person.objects.select_related("user").get(ref=row.person)
    check_may_start_by_token(person)
    return Actor("system", f"token:{row.name}", "token"), person


def _record(action: str, name: str, by: Actor, detail: dict[str, str]) -> None:
    record(by=by, action=action, subject=("token", name), facts=Facts(policy=policy_facts(), detail=detail))
