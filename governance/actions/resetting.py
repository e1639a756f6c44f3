"""Lost second factors: two evaluator owners take them off, and vouch for the account as it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django.utils import timezone

from governance.actions.base import act, check_reason
from governance.actions.endings import ask_to_end
from governance.actions.people import record_seal
from governance.actors import Actor
from governance.against_log import check_account
from governance.audit.log import Facts, record
from governance.factors import kinds_of
from governance.models import Authenticator, FactorReset, Passkey, Person, RecoveryCode
from governance.policy import policy_facts, policy_now
from governance.rules import can, check_may_reset_factors

ASKED_COUNTS: Final = timedelta(hours=24)  # the second owner comes within a day, or the first one asks again


@act("factor.reset", durable=True)
def reset_factors(*, person: Person, reason: str, by: Actor) -> FactorReset:
    """Ask to take a person's second factors off; the second owner who asks within a day does it.

    The log then vouches for the account as it stands, also where it was changed behind the log (`account_as_logged` in
    the entry says whether). Raises NotAllowed unless an evaluator owner asks, each once, and never for themselves.
    """
    since = timezone.now() - ASKED_COUNTS
    row = person.factor_resets.select_for_update().filter(done_at__isnull=True, asked_at__gt=since).first()
    owner = check_may_reset_factors(person, row, by)
    text = check_reason(reason, policy_now().min_reason)
    detail: dict[str, Any] = {
        "kinds": list(kinds_of(person)),
        "account_as_logged": can(lambda: check_account(person))[0],
    }
    row = row or FactorReset.objects.create(person=person, reason=text)
    detail["asked"] = ask_to_end(row, owner, asked="asked_by", ended="done_at")
    detail["over"] = row.done_at is not None
    if row.done_at:
        for table in (Authenticator, Passkey, RecoveryCode):
            table.objects.filter(person=person).delete()
    facts = Facts(reason=text, policy=policy_facts(), detail=detail)
    entry = record(by=by, action="factor.reset", subject=("person", person.ref), facts=facts)
    if row.done_at:
        record_seal(person, by, cause=str(entry.entry()["id"]))
    return row
