"""WebAuthn passkeys as data: what a browser is asked, and whether its answer holds (W3C WebAuthn level 2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from webauthn import (
    base64url_to_bytes,
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.authentication.verify_authentication_response import VerifiedAuthentication
from webauthn.helpers import bytes_to_base64url, parse_authentication_credential_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)
from webauthn.registration.verify_registration_response import VerifiedRegistration

from governance.errors import NotAllowed
from governance.models import Passkey, Person
from governance.passkeys import Question

MAX_ANSWER: Final = 20_000  # characters of JSON
ISSUER: Final = "Pawl"
MALFORMED: Final = (WebAuthnException, ValueError, LookupError, RecursionError)  # by what comes from outside


def creation_options(question: Question, person: Person) -> str:
    """What the browser needs to make a passkey, as JSON: one that verifies its user, and none that is known already."""
    options = generate_registration_options(
        rp_id=question.site.host,
        rp_name=ISSUER,
        user_name=person.user.get_username(),
        user_id=person.ref.encode(),
        challenge=question.challenge,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.DISCOURAGED,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=_descriptors(person.passkeys.all()),
    )
    return options_to_json(options)


def request_options(question: Question, person: Person) -> str:
    """What the browser needs to use one of the person's passkeys, as JSON."""
    options = generate_authentication_options(
        rp_id=question.site.host,
        challenge=question.challenge,
        allow_credentials=_descriptors(person.passkeys.all()),
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return options_to_json(options)


def check_creation(answer: str, question: Question) -> VerifiedRegistration:
    """The new passkey. Raises NotAllowed unless the answer is to this question, from this site, by a verified user."""
    try:
        return verify_registration_response(
            credential=answer[:MAX_ANSWER],
            expected_challenge=question.challenge,
            expected_rp_id=question.site.host,
            expected_origin=question.site.origin,
            require_user_verification=True,
        )
    except MALFORMED as error:
        raise _refusal(error) from error


def check_answer(answer: str, question: Question, passkey: Passkey) -> VerifiedAuthentication:
    """What the passkey signed; its counter is still to be judged. Raises NotAllowed as `check_creation` does."""
    try:
        return verify_authentication_response(
            credential=answer[:MAX_ANSWER],
            expected_challenge=question.challenge,
            expected_rp_id=question.site.host,
            expected_origin=question.site.origin,
            credential_public_key=base64url_to_bytes(passkey.public_key),
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except MALFORMED as error:
        raise _refusal(error) from error


def credential_of(answer: str) -> str:
    """Which passkey an answer says it is from. Raises NotAllowed when it is no answer."""
    try:
        return parse_authentication_credential_json(answer[:MAX_ANSWER]).id
    except MALFORMED as error:
        raise _refusal(error) from error


def text_of(value: bytes) -> str:
    """Bytes as the database keeps them."""
    return bytes_to_base64url(value)


def _refusal(error: Exception) -> NotAllowed:
    return NotAllowed(f"The passkey was not accepted ({str(error)[:200].rstrip('.')}); try again.")


def _descriptors(passkeys: Iterable[Passkey]) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=base64url_to_bytes(known.credential_id)) for known in passkeys]
