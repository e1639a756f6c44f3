"""Tables of the trusted core. Rows are written by governance/actions/ and governance/audit/log.py alone."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from governance.actors import Actor
from governance.audit.models import (
    AuditEntry,
    AuditHead,
    AuditNode,
    CampaignToken,
    Checkpoint,
    ReadToken,
    Witnessing,
)
from governance.audit.rows import Governed
from governance.desk_models import Attempt, Seen
from governance.factor_models import Authenticator, FactorReset, Passkey, RecoveryCode
from governance.stop_models import DIGEST, Halt, Hold
from governance.transitions import Status

__all__ = [
    "DIGEST",
    "Attempt",
    "AuditEntry",
    "AuditHead",
    "AuditNode",
    "Authenticator",
    "CampaignToken",
    "Checkpoint",
    "Evidence",
    "FactorReset",
    "Halt",
    "Hold",
    "Passkey",
    "Person",
    "Pointer",
    "PointerMove",
    "Proposal",
    "ReadToken",
    "RecoveryCode",
    "Release",
    "Review",
    "RoleGrant",
    "Seen",
    "Task",
    "Version",
    "Witnessing",
]


ACCOUNT = ("user__username", "user__is_active")
SEALED = ("user__password", "user__is_staff", "user__is_superuser")


class Person(Governed):
    """One human being, whatever accounts they use. The log knows them by `ref` only.

    `seal` is random, and new whenever the account changes. With it the row's digest in the log commits to the whole
    account, and gives nothing away: not even a guess at a password hash can be tried on an export of the log.
    """

    later = ("seal",)
    ref = models.CharField(max_length=32, unique=True)
    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="person")
    created_at = models.DateTimeField(default=timezone.now)
    seal = models.CharField(max_length=DIGEST, blank=True)

    class Meta:
        verbose_name_plural = "people"

    def __str__(self) -> str:
        return self.user.get_username()

    @classmethod
    def told_beside(cls, rows: models.QuerySet[Any]) -> dict[Any, dict[str, Any]]:
        """Name and activity of each account; password hash, rights and groups too once there is a seal to hide them."""
        sealed = rows.exclude(seal="")
        found = {row.pop("pk"): row for row in rows.values("pk", *ACCOUNT)}
        for row in sealed.values("pk", *SEALED):
            found[row.pop("pk")] |= {**row, "groups": []}
        for key, group in sealed.filter(user__groups__isnull=False).values_list("pk", "user__groups__name"):
            found[key]["groups"] = sorted([*found[key]["groups"], group])
        return found

    def actor(self, auth: str) -> Actor:
        """This person as an actor; `auth` says how they proved who they are (session, command)."""
        return Actor("human", self.ref, auth)


class RoleGrant(Governed):
    """A role given to a person; `groups` membership without a grant does not count."""

    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="grants")
    role = models.CharField(max_length=32)
    granted_at = models.DateTimeField(default=timezone.now)
    granted_by = models.CharField(max_length=64)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["person", "role"], name="one_grant_per_person_and_role"),
        ]

    def __str__(self) -> str:
        return f"{self.person} as {self.role}"


class Task(Governed):
    """An installed task. `spec` is task.toml as it was when installed."""

    slug = models.SlugField(max_length=64, unique=True)
    title = models.CharField(max_length=200)
    spec = models.JSONField()
    spec_digest = models.CharField(max_length=DIGEST)
    installed_at = models.DateTimeField(default=timezone.now)
    installed_by = models.CharField(max_length=64)

    def __str__(self) -> str:
        return self.slug


class Version(Governed):
    """One immutable harness, adapter, evaluator, policy or roster (who holds which role), known by its digest."""

    class Kind(models.TextChoices):
        HARNESS = "harness"
        ADAPTER = "adapter"
        EVALUATOR = "evaluator"
        POLICY = "policy"
        ROSTER = "roster"

    kind = models.CharField(max_length=16, choices=Kind.choices)
    digest = models.CharField(max_length=DIGEST)
    task = models.ForeignKey(Task, null=True, blank=True, on_delete=models.PROTECT, related_name="versions")
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="children"
    )
    manifest = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.CharField(max_length=64)

    class Meta:
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["digest"], name="version_digest")]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["kind", "task", "digest"],
                condition=Q(task__isnull=False),
                name="one_version_per_digest",
            ),
            models.UniqueConstraint(
                fields=["kind", "digest"],
                condition=Q(task__isnull=True),
                name="one_taskless_version_per_digest",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["policy", "roster"], task__isnull=True)
                | (~Q(kind__in=["policy", "roster"]) & Q(task__isnull=False)),
                name="policy_and_roster_have_no_task",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.digest[:12]}"


class Release(Governed):
    """Harness version + adapter version (or none) for one task: what is verified, approved and promoted.

    `binding` names everything else that the release runs with: base model, tokenizer and runtime digests.
    """

    digest = models.CharField(max_length=DIGEST, unique=True)
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="releases")
    harness = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="harness_releases")
    adapter = models.ForeignKey(
        Version, null=True, blank=True, on_delete=models.PROTECT, related_name="adapter_releases"
    )
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="children"
    )
    binding = models.JSONField(default=dict)
    origin = models.CharField(max_length=100)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"{self.task.slug}@{self.digest[:12]}"


class Pointer(Governed):
    """What is in force under a key (governance/pointers.py names the keys). Moved by compare and swap."""

    key = models.CharField(max_length=100, unique=True)
    digest = models.CharField(max_length=DIGEST)
    generation = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.key} = {self.digest[:12]}"


class PointerMove(Governed):
    """The history of a pointer. Append-only: triggers refuse update and delete."""

    class Kind(models.TextChoices):
        INSTALL = "install"
        PROMOTE = "promote"
        REVERT = "revert"

    key = models.CharField(max_length=100)
    generation = models.PositiveIntegerField()
    kind = models.CharField(max_length=16, choices=Kind.choices)
    digest = models.CharField(max_length=DIGEST)
    previous = models.CharField(max_length=DIGEST, blank=True)
    proposal_ref = models.CharField(max_length=36, blank=True)
    moved_at = models.DateTimeField(default=timezone.now)
    moved_by = models.CharField(max_length=64)
    reason = models.TextField()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["key", "generation"], name="one_move_per_generation"),
        ]

    def __str__(self) -> str:
        return f"{self.key} #{self.generation}: {self.kind} {self.digest[:12]}"


class Proposal(Governed):
    """A request to change something governed.

    `subject` is everything the approval binds (AUDIT: release parts, base, epoch, policy, evidence root);
    `subject_digest` is its digest, what people approve and what is promoted. `excluded` lists the refs of those
    who do not count towards the approval (starter, proposer, last pusher). `key` is the pointer it would move,
    `target` the digest it would set, `base` the digest it expects to replace. What broke the glass goes back by itself
    at `reverts_at` unless it was reviewed (`review_due`) before.
    """

    class Kind(models.TextChoices):
        PROMOTE = "promote"
        REVERT = "revert"
        EVALUATOR = "evaluator"
        POLICY = "policy"
        ROLES = "roles"
        BREAK_GLASS = "break_glass"

    ref = models.CharField(max_length=36, unique=True)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.DRAFT)
    lane = models.CharField(max_length=32)
    lane_reason = models.TextField(blank=True)
    title = models.CharField(max_length=200)
    summary = models.TextField(blank=True)
    task = models.ForeignKey(Task, null=True, blank=True, on_delete=models.PROTECT, related_name="proposals")
    release = models.ForeignKey(
        Release, null=True, blank=True, on_delete=models.PROTECT, related_name="proposals"
    )
    version = models.ForeignKey(
        Version, null=True, blank=True, on_delete=models.PROTECT, related_name="proposals"
    )
    key = models.CharField(max_length=100)
    target = models.CharField(max_length=DIGEST)
    base = models.CharField(max_length=DIGEST, blank=True)
    subject = models.JSONField(default=dict)
    subject_digest = models.CharField(max_length=DIGEST, blank=True)
    excluded = models.JSONField(default=list)
    proposed_by = models.CharField(max_length=64)
    status_reason = models.TextField(blank=True)
    review_due = models.BooleanField(default=False)
    reverts_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now)
    ready_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["status", "-created_at"]),
            models.Index(fields=["-changed_at"], name="proposal_newest_change"),
            models.Index(fields=["review_due", "created_at"], name="proposal_review_due"),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=Q(status__in=Status.values), name="proposal_status_known"),
            models.CheckConstraint(
                condition=Q(
                    status__in=[
                        "draft",
                        "verifying",
                        "failed",
                        "withdrawn",
                        "stale",
                        "expired",
                        "quarantined",
                    ]
                )
                | ~Q(subject_digest=""),
                name="decidable_proposal_has_a_subject",
            ),
            models.UniqueConstraint(
                fields=["key"], condition=Q(status="promoting"), name="one_promotion_at_a_time_per_key"
            ),
            models.UniqueConstraint(
                fields=["key"], condition=Q(status="promoted"), name="one_promoted_proposal_per_key"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.ref[:8]}: {self.title}"


class Evidence(Governed):
    """One piece of evidence, copied onto the proposal when it was submitted. Never changed afterwards."""

    proposal = models.ForeignKey(Proposal, on_delete=models.PROTECT, related_name="evidence")
    name = models.CharField(max_length=100)
    media_type = models.CharField(max_length=100)
    sha256 = models.CharField(max_length=DIGEST)
    size = models.PositiveBigIntegerField()
    body = models.BinaryField()

    class Meta:
        verbose_name_plural = "evidence"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["proposal", "name"], name="one_evidence_per_name"),
        ]

    def __str__(self) -> str:
        return self.name

    def data(self) -> bytes:
        """The body as bytes on every database."""
        return bytes(self.body)


class Review(Governed):
    """One person's verdict on one subject digest, with a reason. An approval is used once, before it expires.

    Once it has expired its giver may give another one: `round` counts them. The last five columns say how closely the
    reviewer looked (governance/attention.py), None where that was not measured.
    """

    class Verdict(models.TextChoices):
        APPROVE = "approve"
        REJECT = "reject"
        REQUEST_CHANGES = "request_changes"

    proposal = models.ForeignKey(Proposal, on_delete=models.PROTECT, related_name="reviews")
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="reviews")
    verdict = models.CharField(max_length=16, choices=Verdict.choices)
    reason = models.TextField()
    subject_digest = models.CharField(max_length=DIGEST)
    round = models.PositiveSmallIntegerField(default=1)
    nonce = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    consumed_at = models.DateTimeField(null=True, blank=True)
    dwell_s = models.FloatField(null=True, blank=True)
    files_changed = models.PositiveIntegerField(null=True, blank=True)
    files_viewed = models.PositiveIntegerField(null=True, blank=True)
    evidence_given = models.PositiveIntegerField(null=True, blank=True)
    evidence_opened = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["proposal", "person", "subject_digest", "round"],
                name="one_review_per_person_subject_and_round",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="review_has_a_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.verdict} by {self.person}"
