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
