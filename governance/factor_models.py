"""Tables of what people prove themselves with beside their password; governance/models.py lists them."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from governance.audit.rows import Governed


class Authenticator(Governed):
    """An authenticator app that makes time-based codes (RFC 6238), one a person.

    `secret` is encrypted (governance/factors.py); `last_step` is the time step of the newest code that was used.
    """

    person = models.OneToOneField("governance.Person", on_delete=models.PROTECT, related_name="authenticator")
    secret = models.TextField()
    last_step = models.BigIntegerField()
    added_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"authenticator of {self.person}"


class RecoveryCode(Governed):
    """One of the codes for the day the other factor is lost, each used once; kept as a salted hash."""

    person = models.ForeignKey("governance.Person", on_delete=models.PROTECT, related_name="recovery_codes")
    salt = models.CharField(max_length=32)
    digest = models.CharField(max_length=64)
    made_at = models.DateTimeField(default=timezone.now)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["person", "used_at"])]

    def __str__(self) -> str:
        return f"recovery code of {self.person}"


class Passkey(Governed):
    """A WebAuthn credential: a key pair in a person's device, of which this is the public half.

    `sign_count` is the newest count that the device told (0 for those that do not count); `last_question` is the digest
    of the newest challenge that was answered, so that no answer counts twice.
    """

    person = models.ForeignKey("governance.Person", on_delete=models.PROTECT, related_name="passkeys")
    name = models.CharField(max_length=64)
    credential_id = models.CharField(max_length=1400, unique=True)  # base64url; at most 1,023 bytes
    public_key = models.TextField()
    sign_count = models.BigIntegerField()
    last_question = models.CharField(max_length=64)
    added_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"passkey {self.name} of {self.person}"


class FactorReset(Governed):
    """What two evaluator owners do for a person who lost their second factors: one asks, another one ends it."""

    person = models.ForeignKey("governance.Person", on_delete=models.PROTECT, related_name="factor_resets")
    reason = models.TextField()
    asked_by = models.JSONField(default=list)
    asked_at = models.DateTimeField(default=timezone.now)
    done_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"reset of the factors of {self.person}"
