"""Second factors as data: codes of an authenticator app, recovery codes, and how their secrets are kept.

A secret is encrypted by a key that follows from the service's SECRET_KEY (Fernet: AES-128-CBC with HMAC), so that the
database alone, or a backup of it, makes no codes. After SECRET_KEY changed, a secret can be read while the old key
stands in SECRET_KEY_FALLBACKS.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from datetime import datetime
from typing import Final

import pyotp
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from governance.digests import sha256_hex
from governance.errors import NotAllowed
from governance.models import Authenticator, Passkey, Person

STEP_S: Final = 30
SKEW: Final = 1  # steps that a clock may be off
CODES: Final = 10
ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that looks like something else
CODE_LENGTH: Final = 16  # characters: 79 bits
AUTHENTICATOR: Final = "authenticator"
PASSKEY: Final = "passkey"
ISSUER: Final = "Pawl"


def kinds_of(person: Person) -> tuple[str, ...]:
    """What this person must show beside the password, any one of it: nothing, or kinds of factor."""
    found = {
        AUTHENTICATOR: Authenticator.objects.filter(person=person).exists(),
        PASSKEY: Passkey.objects.filter(person=person).exists(),
    }
    return tuple(kind for kind, has in found.items() if has)


def new_secret() -> str:
    """A fresh secret for an authenticator app, 160 bits in base 32."""
    return pyotp.random_base32()


def address_of(secret: str, name: str) -> str:
    """The otpauth:// address that an authenticator app reads from a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=ISSUER)


def encrypted(secret: str) -> str:
    """The secret as the database keeps it."""
    return _keys().encrypt(secret.encode()).decode()


def decrypted(kept: str) -> str:
    """The secret again. Raises NotAllowed when it was encrypted by another key than the service has."""
    try:
        return _keys().decrypt(kept.encode()).decode()
    except InvalidToken as error:
        raise NotAllowed(
            "The secret of your authenticator cannot be read, because the service's SECRET_KEY changed; use a recovery "
            "code, or have two evaluator owners reset your second factors."
        ) from error


def step_of(secret: str, code: str, now: datetime) -> int | None:
    """The time step whose code this is, the nearest ones only; None when it is none of theirs."""
    maker, current = pyotp.TOTP(secret, interval=STEP_S), int(now.timestamp()) // STEP_S
    steps = range(current - SKEW, current + SKEW + 1)
    fitting = [
        step for step in steps if hmac.compare_digest(maker.generate_otp(step).encode(), code.encode())
    ]
    return fitting[-1] if fitting else None


def new_codes() -> list[str]:
    """Fresh recovery codes in groups of four characters."""
    return ["-".join(_group() for _ in range(CODE_LENGTH // 4)) for _ in range(CODES)]


def code_digest(salt: str, code: str) -> str:
    """The salted hash of a recovery code, without its dashes; its own length makes guessing hopeless."""
    return sha256_hex(f"{salt}:{bare(code)}".encode())


def bare(code: str) -> str:
    """A code as it is compared: without blanks and dashes, in small letters, and short."""
    return "".join(code.split()).replace("-", "").lower()[:64]


def _group() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(4))


def _keys() -> MultiFernet:
    known = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(_derived(key))) for key in known])


def _derived(key: str) -> bytes:
    maker = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"pawl authenticator secrets v1")
    return maker.derive(key.encode())
