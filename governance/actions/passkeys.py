"""Acts on a person's own passkeys: add, use, remove."""

from __future__ import annotations

from django.db.models import Q

from governance.actions.base import act
from governance.actions.factors import check_own, drop_codes_without_factor, first_codes, note_factor
from governance.actors import Actor
from governance.errors import BadInput, NotAllowed
from governance.factors import PASSKEY
from governance.models import Passkey, Person
from governance.passkeys import Question

NAME_MAX = 64


@act("factor.add", durable=True)
def add_passkey(*, person: Person, name: str, answer: str, question: Question, by: Actor) -> list[str]:
    """Accept this passkey from now on; returns recovery codes if the person has none.

    Raises NotAllowed when the browser's answer does not hold, BadInput without a name or for a passkey that is known.
    """
    from governance.webauthn_answers import (  # here: it costs a third of a second, and is rare
        check_creation,
        text_of,
    )

    check_own(person, by)
    title = " ".join(name.split())
    if not 0 < len(title) <= NAME_MAX:
        raise BadInput(f"Give the passkey a name of at most {NAME_MAX} characters, such as the device's.")
    made = check_creation(answer, question)
    credential = text_of(made.credential_id)
    if Passkey.objects.filter(credential_id=credential).exists():
        raise BadInput("This passkey is known already.")
    Passkey.objects.create(
        person=person,
        name=title,
        credential_id=credential,
        public_key=text_of(made.credential_public_key),
        sign_count=made.sign_count,
        last_question=question.digest,
    )
    codes = first_codes(person)
    note_factor("factor.add", person, by, {"kind": PASSKEY, "recovery_codes": len(codes)})
    return codes


@act("factor.remove", durable=True)
def remove_passkey(*, person: Person, credential: str, by: Actor) -> None:
    """Accept this passkey no more. Raises BadInput when the person has none such."""
    check_own(person, by)
    if not Passkey.objects.filter(person=person, credential_id=credential).delete()[0]:
        raise BadInput("You have no such passkey.")
    drop_codes_without_factor(person)
    note_factor("factor.remove", person, by, {"kind": PASSKEY})


@act("factor.use", durable=True)
def use_passkey(*, person: Person, answer: str, question: Question, by: Actor) -> None:
    """Accept one answer of one of the person's passkeys to one question, once.

    Raises NotAllowed when it does not hold, or when the passkey's counter did not grow: then a copy may be in use.
    """
    from governance.webauthn_answers import check_answer, credential_of  # here, as in `add_passkey`

    check_own(person, by)
    passkey = Passkey.objects.filter(person=person, credential_id=credential_of(answer)).first()
    if passkey is None:
        raise NotAllowed("This passkey is none of yours.")
    count = check_answer(answer, question, passkey).new_sign_count
    grown = Q(sign_count__lt=count) if count else Q(sign_count=0)
    fresh = Passkey.objects.filter(grown, pk=passkey.pk).exclude(last_question=question.digest)
    if fresh.update(sign_count=count, last_question=question.digest) != 1:
        raise NotAllowed(
            "The passkey's counter did not grow, or its answer was used already: a copy may be in use. Remove it "
            "unless you pressed twice."
        )
    note_factor("factor.use", person, by, {"kind": PASSKEY})
