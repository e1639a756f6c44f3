"""Tables of the audit log. They are also reached as governance.models; governance/audit/ alone writes them."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.db import models
from django.utils import timezone

from governance.audit.rows import Governed

DIGEST = 64


class AuditEntry(models.Model):
    """One leaf of the log. `body` is RFC 8785 canonical JSON; the other columns repeat parts of it for queries.

    Append-only: triggers refuse update and delete on both databases.
    """

    seq = models.BigIntegerField(primary_key=True)
    body = models.TextField()
    leaf = models.CharField(max_length=DIGEST)
    time = models.DateTimeField()
    action = models.CharField(max_length=64)
    outcome = models.CharField(max_length=16)
    actor = models.CharField(max_length=64)
    object_type = models.CharField(max_length=32)
    object_id = models.CharField(max_length=100)
    task = models.CharField(max_length=64, blank=True)

    class Meta:
        verbose_name_plural = "audit entries"
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["action", "-seq"]),
            models.Index(fields=["object_type", "object_id", "-seq"]),
            models.Index(fields=["actor", "-seq"]),
            models.Index(fields=["task", "-seq"]),
        ]

    def __str__(self) -> str:
        return f"#{self.seq} {self.action} ({self.outcome})"

    def entry(self) -> dict[str, Any]:
        """The parsed body."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed


class AuditHead(models.Model):
    """The one row that hands out gapless sequence numbers: locked while an entry is appended."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    size = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"log of {self.size} entries"


class Checkpoint(models.Model):
    """A signed statement of the log's size and root (C2SP signed note). Append-only."""

    size = models.BigIntegerField(primary_key=True)
    root = models.CharField(max_length=DIGEST)
    note = models.TextField()
    time = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"checkpoint at {self.size}"


class AuditNode(models.Model):
    """Hashes inside the log's tree, so that nobody reads a million leaves for one checkpoint. Append-only.

    `level` is a multiple of 8: the row is the hash of full subtree number `index` among those of 2**level leaves.
    """

    level = models.PositiveSmallIntegerField()
    index = models.BigIntegerField()
    hash = models.CharField(max_length=DIGEST)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["level", "index"], name="one_hash_per_node"),
        ]

    def __str__(self) -> str:
        return f"node {self.index} of level {self.level}"


class Witnessing(models.Model):
    """What one witness answered to one checkpoint. A copy of what others hold, so no entry explains it."""

    size = models.BigIntegerField()
    witness = models.CharField(max_length=100)
    ok = models.BooleanField()
    answer = models.TextField(blank=True)  # a C2SP witness's signature lines, else one sentence
    time = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["size", "witness"], name="one_answer_per_checkpoint_and_witness"),
        ]

    def __str__(self) -> str:
        return f"{self.witness} at {self.size}: {'ok' if self.ok else 'failed'}"


class ReadToken(Governed):
    """A consumer's right to read the log over HTTP (a SIEM). Only the SHA-256 of the token is kept."""

    name = models.SlugField(max_length=40, unique=True)
    sha256 = models.CharField(max_length=DIGEST, unique=True)
    created_by = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=timezone.now)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"read token {self.name}"


class CampaignToken(Governed):
    """A program's right to start campaigns over HTTP on behalf of one person, until it expires. It reads nothing.

    Only the SHA-256 of the token is kept.
    """

    name = models.SlugField(max_length=40, unique=True)
    sha256 = models.CharField(max_length=DIGEST, unique=True)
    person = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"campaign token {self.name}"
