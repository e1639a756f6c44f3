"""The questions that passkeys answer: one challenge to one browser at one site, answered once. Pure data."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from governance.digests import sha256_hex

CHALLENGE_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Site:
    """Where the browser is: the host's name, and the origin (scheme, host and port) that its answers must name."""

    host: str
    origin: str


@dataclass(frozen=True, slots=True)
class Question:
    """One challenge to one browser at one site; it is answered once."""

    challenge: bytes
    site: Site

    @property
    def digest(self) -> str:
        """How a passkey remembers which question it answered last."""
        return sha256_hex(self.challenge)


def new_question(site: Site) -> Question:
    """A question that nobody has seen before."""
    return Question(secrets.token_bytes(CHALLENGE_BYTES), site)
