"""Tables about the use of the desk: what people looked at, who failed to sign in; governance/models.py lists them."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone


class Seen(models.Model):
    """A changed file that a person marked as viewed, or a piece of evidence that they opened, known by its digest."""

    class Kind(models.TextChoices):
        FILE = "file"
        EVIDENCE = "evidence"

    person = models.ForeignKey("governance.Person", on_delete=models.PROTECT, related_name="seen")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    digest = models.CharField(max_length=64)
    seen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "seen"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["person", "kind", "digest"], name="one_mark_per_person_and_digest"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.digest[:12]} seen by {self.person}"


class Attempt(models.Model):
    """One failed proof of identity: against an account (`account:NAME`) or from an address (`address:IP`).

    Rows older than the window that counts are removed as new ones come; a success removes the account's.
    """

    key = models.CharField(max_length=200)
    failed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["key", "failed_at"])]

    def __str__(self) -> str:
        return f"failed for {self.key}"
