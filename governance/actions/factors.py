"""Acts on a person's own second factors: add, use, remove. What is secret never reaches the log."""

from __future__ import annotations

import secrets
from typing import Any

from django.utils import timezone

from governance.actions.base import act
from governance.actors import Actor
from governance.audit.log import Facts, record
from governance.errors import BadInput, NotAllowed
from governance.factors import (
    AUTHENTICATOR,
    bare,
    code_digest,
    decrypted,
    encrypted,
    kinds_of,
    new_codes,
    step_of,
)
from governance.models import Authenticator, Person, RecoveryCode
from governance.policy import policy_facts
from governance.rules import check_signed_in

RECOVERY = "recovery code"


@act("factor.add", durable=True)
def add_authenticator(*, person: Person, secret: str, code: str, by: Actor) -> list[str]:
    """Ask for codes of this secret from now on, once the person shows one; returns recovery codes if they have none.

    Raises BadInput when the code does not fit or there is an authenticator already, NotAllowed for anyone else.
    """
    check_own(person, by)
    if Authenticator.objects.filter(person=person).exists():
        raise BadInput("You have an authenticator already; remove it first.")
    step = step_of(secret, bare(code), timezone.now())
    if step is None:
        raise BadInput(
            "The code does not fit the secret; is the clock of your phone right? Type the next one."
        )
    Authenticator.objects.create(person=person, secret=encrypted(secret), last_step=step)
    codes = first_codes(person)
    note_factor("factor.add", person, by, {"kind": AUTHENTICATOR, "recovery_codes": len(codes)})
    return codes


@act("factor.remove", durable=True)
def remove_authenticator(*, person: Person, by: Actor) -> None:
    """Ask for this person's codes no more. Raises BadInput when there is nothing to remove."""
    check_own(person, by)
    if not Authenticator.objects.filter(person=person).delete()[0]:
        raise BadInput("You have no authenticator.")
    drop_codes_without_factor(person)
    note_factor("factor.remove", person, by, {"kind": AUTHENTICATOR})


@act("factor.codes", durable=True)
def renew_recovery_codes(*, person: Person, by: Actor) -> list[str]:
    """Replace every recovery code by a fresh one. Raises BadInput for a person without a second factor."""
    check_own(person, by)
    if not kinds_of(person):
        raise BadInput("Recovery codes stand in for a second factor, and you have none; add one first.")
    codes = _make_codes(person)
    note_factor("factor.codes", person, by, {"recovery_codes": len(codes)})
    return codes


@act("factor.use", durable=True)
def use_code(*, person: Person, code: str, by: Actor) -> None:
    """Accept a code of the authenticator, or a recovery code, once. Raises NotAllowed for any other or a used one."""
    check_own(person, by)
    given = bare(code)
    if not given:
        raise NotAllowed("Type a code of your authenticator, or one of your recovery codes.")
    if given.isdigit():
        _use_time_code(person, given)
        note_factor("factor.use", person, by, {"kind": AUTHENTICATOR})
        return
    left = _use_recovery_code(person, given)
    note_factor("factor.use", person, by, {"kind": RECOVERY, "left": left})


def _use_time_code(person: Person, code: str) -> None:
    kept = Authenticator.objects.filter(person=person).first()
    step = step_of(decrypted(kept.secret), code, timezone.now()) if kept else None
    if step is None:
        raise NotAllowed("The code does not fit; type the one that your authenticator shows now.")
    fresh = Authenticator.objects.filter(person=person, last_step__lt=step)
    if fresh.update(last_step=step) != 1:
        raise NotAllowed("This code, or a newer one, was used already; wait for the next one.")


def _use_recovery_code(person: Person, code: str) -> int:
    """Use a recovery code up; returns how many are left."""
    unused = RecoveryCode.objects.filter(person=person, used_at__isnull=True)
    found = next((row for row in unused if row.digest == code_digest(row.salt, code)), None)
    if found is None or unused.filter(pk=found.pk).update(used_at=timezone.now()) != 1:
        raise NotAllowed("This is none of your recovery codes, or it was used already.")
    return unused.all().count()  # asked again: `unused` remembers what it found


def _make_codes(person: Person) -> list[str]:
    RecoveryCode.objects.filter(person=person).delete()
    codes = new_codes()
    for code in codes:
        salt = secrets.token_hex(16)
        RecoveryCode.objects.create(person=person, salt=salt, digest=code_digest(salt, code))
    return codes


def first_codes(person: Person) -> list[str]:
    """Recovery codes for a person who has none left, as a part of the act that adds a factor."""
    return [] if person.recovery_codes.filter(used_at__isnull=True).exists() else _make_codes(person)


def drop_codes_without_factor(person: Person) -> None:
    """Recovery codes end with the last factor that they stood in for."""
    if not kinds_of(person):
        RecoveryCode.objects.filter(person=person).delete()


def check_own(person: Person, by: Actor) -> None:
    """Raises NotAllowed for anyone but the person themselves."""
    if check_signed_in(by) != person:
        raise NotAllowed("People add, use and remove their own second factors only.")


def note_factor(action: str, person: Person, by: Actor, detail: dict[str, Any]) -> None:
    """The entry of an act on a person's factors."""
    facts = Facts(policy=policy_facts(), detail=detail)
    record(by=by, action=action, subject=("person", person.ref), facts=facts)
