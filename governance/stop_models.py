"""Tables of what people stopped or hold; governance/models.py lists them with the others."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from governance.audit.rows import Governed

DIGEST = 64


class Halt(Governed):
    """The stop switch, thrown by one person over one task (its slug) or over everything (an empty `scope`).

    Open until two different people asked to resume: their refs are in `resumed_by`.
    """

    scope = models.CharField(max_length=64, blank=True)
    reason = models.TextField()
    stopped_by = models.CharField(max_length=64)
    stopped_at = models.DateTimeField(default=timezone.now)
    resumed_by = models.JSONField(default=list)
    resumed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["scope"], condition=Q(resumed_at__isnull=True), name="one_open_halt_per_scope"
            ),
        ]

    def __str__(self) -> str:
        return f"stop of {self.scope or 'everything'}"


class Hold(Governed):
    """A release or version that must not go live again, nor anything made from it, until two people lift that.

    An `automatic` one was placed by a revert, and another revert to the same digest lifts it.
    """

    digest = models.CharField(max_length=DIGEST)
    reason = models.TextField()
    held_by = models.CharField(max_length=64)
    held_at = models.DateTimeField(default=timezone.now)
    automatic = models.BooleanField(default=False)
    lifted_by = models.JSONField(default=list)
    lifted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["digest"], condition=Q(lifted_at__isnull=True), name="one_open_hold_per_digest"
            ),
        ]

    def __str__(self) -> str:
        return f"hold of {self.digest[:12]}"
