"""An authenticator in software: what a browser and a device do with a question, made by hand so that it can fail."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass, field

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from webauthn.helpers import bytes_to_base64url as text

from governance.passkeys import Question, Site

PRESENT, VERIFIED, MAKES_KEY = 0x01, 0x04, 0x40


@dataclass
class SoftwarePasskey:
    """One key pair. `flags`: its user was there and verified; `count` grows with each answer unless it is 0."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    credential: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    flags: int = PRESENT | VERIFIED
    count: int = 1

    def create(self, question: Question) -> str:
        """The answer to a request to make a passkey."""
        numbers = self.key.public_key().public_numbers()
        public = cbor2.dumps(
            {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        )
        made = bytes(16) + len(self.credential).to_bytes(2, "big") + self.credential + public
        data = self._data(question.site, MAKES_KEY) + made
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return self._packed(
            {
                "clientDataJSON": text(_client_data("webauthn.create", question)),
                "attestationObject": text(attestation),
            }
        )

    def use(self, question: Question) -> str:
        """The answer to a question."""
        self.count += 1 if self.count else 0
        client, data = _client_data("webauthn.get", question), self._data(question.site, 0)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        return self._packed(
            {
                "clientDataJSON": text(client),
                "authenticatorData": text(data),
                "signature": text(signature),
                "userHandle": None,
            }
        )

    def _data(self, site: Site, more: int) -> bytes:
        return (
            hashlib.sha256(site.host.encode()).digest()
            + bytes([self.flags | more])
            + self.count.to_bytes(4, "big")
        )

    def _packed(self, response: dict[str, str | None]) -> str:
        name = text(self.credential)
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})


def _client_data(kind: str, question: Question) -> bytes:
    told = {"type": kind, "challenge": text(question.challenge), "origin": question.site.origin}
    return json.dumps({**told, "crossOrigin": False}).encode()
