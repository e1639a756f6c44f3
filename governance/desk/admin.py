"""Everything the core knows, to be read. What can be done about a proposal is a button that leads to the desk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import django.contrib.auth.admin  # noqa: F401  (registers what is taken off below)
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from governance import models, rules
from governance.desk.account import sign_in_admin
from governance.desk.reading_room import ReadingRoom, by_field, moment
from governance.people import person_for_user
from governance.roles import AUDITOR, OPERATOR, OWNER
from governance.transitions import DECIDABLE, OPEN, Status

admin.site.site_header = "Pawl"
admin.site.site_title = "Pawl"
admin.site.index_title = "Reading room"
admin.site.login = sign_in_admin  # type: ignore[method-assign, assignment]  # the one door, second factor and all
admin.site.unregister([get_user_model(), Group])


@dataclass(frozen=True, slots=True)
class Button:
    """One act on a proposal: where it is done, or the rule's sentence why not."""

    label: str
    allowed: bool
    why_not: str


def buttons_of(proposal: models.Proposal, person: models.Person | None) -> list[Button]:
    """The acts that make sense in the proposal's status, each with its permission for this person."""
    if person is None:
        return []
    by = person.actor("session")
    found: list[tuple[str, tuple[bool, str]]] = []
    if proposal.status in DECIDABLE:
        verdict = rules.can_review(proposal, by)
        found += [(label, verdict) for label in ("Approve", "Request changes", "Reject")]
        found.append(("Promote", rules.can_promote(proposal, by)))
    if proposal.status == Status.PROMOTED:
        found.append(("Revert", rules.can_revert(by)))
    if proposal.review_due:
        found.append(("Acknowledge", rules.can_acknowledge(proposal, by)))
    if proposal.status in OPEN:
        found.append(("Withdraw", rules.can_withdraw(proposal, by)))
    return [Button(label, *permission) for label, permission in found]


@admin.register(models.Proposal)
class ProposalAdmin(ReadingRoom):
    """Proposals, with what can be done about each."""

    change_form_template = "admin/governance/proposal/change_form.html"
    list_display = (
        "title",
        "status",
        "lane",
        "task",
        by_field("subject_digest", "subject"),
        "review_due",
        moment("created_at", "opened (UTC)"),
    )
    list_filter = ("status", "lane", "kind", "task", "review_due")
    search_fields = ("ref", "title", "subject_digest", "target")
    list_select_related = ("task",)
    ordering = ("-created_at",)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The proposal's fields, with its buttons."""
        proposal = models.Proposal.objects.filter(pk=object_id).first() if object_id.isdigit() else None
        buttons = buttons_of(proposal, person_for_user(request.user)) if proposal else []
        desk = reverse("desk:proposal", args=[proposal.ref]) if proposal else ""
        context = {"buttons": buttons, "desk": desk, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)


@admin.register(models.Review)
class ReviewAdmin(ReadingRoom):
    """Verdicts. While a proposal is open they show on its page only, after one's own verdict."""

    list_display = (
        "proposal",
        "person",
        "verdict",
        by_field("subject_digest", "subject"),
        moment("created_at", "given (UTC)"),
        moment("expires_at", "expires (UTC)"),
        moment("consumed_at", "used (UTC)"),
    )
    list_filter = ("verdict",)
    list_select_related = ("proposal", "person__user")
    ordering = ("-created_at",)

    def get_queryset(self, request: HttpRequest) -> Any:
        """The verdicts on proposals that are decided."""
        return super().get_queryset(request).exclude(proposal__status__in=DECIDABLE)


@admin.register(models.Evidence)
class EvidenceAdmin(ReadingRoom):
    """What evidence there is. Its content is read on the proposal's page, where the reading is recorded."""

    list_display = ("name", "proposal", "media_type", "size", by_field("sha256", "SHA-256"))
    fields = ("name", "proposal", "media_type", "size", "sha256")
    list_filter = ("name",)
    list_select_related = ("proposal",)


@admin.register(models.Version)
class VersionAdmin(ReadingRoom):
    """Versions with their lineage."""

    list_display = (
        by_field("digest", "digest"),
        "kind",
        "task",
        "parent",
        "created_by",
        moment("created_at", "made (UTC)"),
    )
    list_filter = ("kind", "task")
    search_fields = ("digest",)
    list_select_related = ("task", "parent")
    ordering = ("-created_at",)


@admin.register(models.Release)
class ReleaseAdmin(ReadingRoom):
    """Releases: harness and adapter."""

    list_display = (
        by_field("digest", "digest"),
        "task",
        "harness",
        "adapter",
        "origin",
        moment("created_at", "made (UTC)"),
    )
    list_filter = ("task",)
    search_fields = ("digest",)
    list_select_related = ("task", "harness", "adapter")
    ordering = ("-created_at",)


@admin.register(models.Pointer)
class PointerAdmin(ReadingRoom):
    """What is in force."""

    list_display = ("key", by_field("digest", "digest"), "generation")
    search_fields = ("key", "digest")
    ordering = ("key",)


@admin.register(models.PointerMove)
class PointerMoveAdmin(ReadingRoom):
    """What was in force, and why it moved."""

    list_display = (
        "key",
        "generation",
        "kind",
        by_field("digest", "digest"),
        by_field("previous", "before"),
        "moved_by",
        moment("moved_at", "moved (UTC)"),
        "reason",
    )
    list_filter = ("kind", "key")
    ordering = ("-moved_at", "-pk")


@admin.register(models.Task)
class TaskAdmin(ReadingRoom):
    """Installed tasks."""

    list_display = (
        "slug",
        "title",
        by_field("spec_digest", "spec"),
        moment("installed_at", "installed (UTC)"),
    )
    search_fields = ("slug", "title")
    ordering = ("slug",)


@admin.register(models.Person)
class PersonAdmin(ReadingRoom):
    """People; evaluator owners decide about their roles (`manage.py people`)."""

    list_display = ("__str__", "ref", moment("created_at", "added (UTC)"))
    fields = ("user", "ref", "created_at")
    list_select_related = ("user",)
    search_fields = ("user__username", "ref")


@admin.register(models.Authenticator)
class AuthenticatorAdmin(ReadingRoom):
    """Who has an authenticator; never its secret."""

    readers: ClassVar[frozenset[str]] = frozenset({AUDITOR, OWNER, OPERATOR})
    list_display = ("person", moment("added_at", "added (UTC)"))
    fields = ("person", "added_at")
    list_select_related = ("person__user",)


@admin.register(models.Passkey)
class PasskeyAdmin(ReadingRoom):
    """Who has which passkeys."""

    readers: ClassVar[frozenset[str]] = frozenset({AUDITOR, OWNER, OPERATOR})
    list_display = ("person", "name", "sign_count", moment("added_at", "added (UTC)"))
    fields = ("person", "name", "sign_count", "added_at")
    list_select_related = ("person__user",)


@admin.register(models.RecoveryCode)
class RecoveryCodeAdmin(ReadingRoom):
    """Which recovery codes are used; never the codes."""

    readers: ClassVar[frozenset[str]] = frozenset({AUDITOR, OWNER, OPERATOR})
    list_display = ("person", moment("made_at", "made (UTC)"), moment("used_at", "used (UTC)"))
    fields = ("person", "made_at", "used_at")
    list_select_related = ("person__user",)


@admin.register(models.FactorReset)
class FactorResetAdmin(ReadingRoom):
    """Lost second factors: who asked to take them off, and when that was done."""

    list_display = ("person", "reason", moment("asked_at", "asked (UTC)"), moment("done_at", "done (UTC)"))
    list_select_related = ("person__user",)


@admin.register(models.RoleGrant)
class RoleGrantAdmin(ReadingRoom):
    """Who holds which role, and who gave it."""

    list_display = ("person", "role", "granted_by", moment("granted_at", "given (UTC)"))
    list_filter = ("role",)
    list_select_related = ("person__user",)


@admin.register(models.Halt)
class HaltAdmin(ReadingRoom):
    """Every use of the stop switch."""

    list_display = (
        "__str__",
        moment("stopped_at", "stopped (UTC)"),
        moment("resumed_at", "resumed (UTC)"),
        "reason",
    )
    ordering = ("-stopped_at",)


@admin.register(models.Hold)
class HoldAdmin(ReadingRoom):
    """What must not go live again."""

    list_display = ("__str__", moment("held_at", "held (UTC)"), moment("lifted_at", "lifted (UTC)"), "reason")
    ordering = ("-held_at",)


@admin.register(models.AuditEntry)
class AuditEntryAdmin(ReadingRoom):
    """The log."""

    readers: ClassVar[frozenset[str]] = frozenset({AUDITOR, OWNER, OPERATOR})
    list_display = (
        "seq",
        moment("time", "time (UTC)"),
        "action",
        "outcome",
        "actor",
        "object_type",
        by_field("object_id", "object"),
        "task",
    )
    list_filter = ("outcome", "action", "task")
    search_fields = ("object_id", "actor")
    ordering = ("-seq",)


@admin.register(models.Checkpoint)
class CheckpointAdmin(ReadingRoom):
    """Signed statements of the log's size and root."""

    readers: ClassVar[frozenset[str]] = frozenset({AUDITOR, OWNER, OPERATOR})
    list_display = ("size", by_field("root", "root"), moment("time", "signed (UTC)"))
    ordering = ("-size",)


@admin.register(models.Seen)
class SeenAdmin(ReadingRoom):
    """What people marked as viewed or opened."""

    readers: ClassVar[frozenset[str]] = frozenset({AUDITOR, OWNER, OPERATOR})
    list_display = ("person", "kind", by_field("digest", "digest"), moment("seen_at", "seen (UTC)"))
    list_filter = ("kind",)
    list_select_related = ("person__user",)
    ordering = ("-seen_at",)


@admin.register(models.Attempt)
class AttemptAdmin(ReadingRoom):
    """Failed sign-ins that still count."""

    readers: ClassVar[frozenset[str]] = frozenset({AUDITOR, OWNER, OPERATOR})
    list_display = ("key", moment("failed_at", "failed (UTC)"))
    search_fields = ("key",)
    ordering = ("-failed_at",)


@admin.register(models.AuditNode)
class AuditNodeAdmin(ReadingRoom):
    """Hashes inside the log's tree."""

    readers: ClassVar[frozenset[str]] = frozenset({AUDITOR, OWNER, OPERATOR})
    list_display = ("level", "index", by_field("hash", "hash"))
    ordering = ("-level", "-index")


@admin.register(models.Witnessing)
class WitnessingAdmin(ReadingRoom):
    """What witnesses answered to checkpoints."""

    readers: ClassVar[frozenset[str]] = frozenset({AUDITOR, OWNER, OPERATOR})
    list_display = ("size", "witness", "ok", "answer", moment("time", "asked (UTC)"))
    list_filter = ("witness", "ok")
    ordering = ("-size", "witness")


@admin.register(models.ReadToken)
class ReadTokenAdmin(ReadingRoom):
    """Who reads the log over HTTP; tokens are given and taken by `manage.py read_token`."""

    readers: ClassVar[frozenset[str]] = frozenset({AUDITOR, OWNER, OPERATOR})
    fields = ("name", "created_by", "created_at", "revoked_at")
    list_display = (
        "name",
        "created_by",
        moment("created_at", "given (UTC)"),
        moment("revoked_at", "taken (UTC)"),
    )
    ordering = ("name",)


@admin.register(models.CampaignToken)
class CampaignTokenAdmin(ReadingRoom):
    """Which programs start campaigns for whom; tokens are given and taken by `manage.py campaign_token`."""

    readers: ClassVar[frozenset[str]] = frozenset({AUDITOR, OWNER, OPERATOR})
    fields = ("name", "person", "created_at", "expires_at", "revoked_at")
    list_display = (
        "name",
        "person",
        moment("expires_at", "expires (UTC)"),
        moment("revoked_at", "taken (UTC)"),
    )
    ordering = ("name",)
