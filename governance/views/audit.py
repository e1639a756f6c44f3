"""The audit log as a reading room: filter, page by sequence number, look at one entry with its proof, export."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_POST, require_safe

from governance import rules
from governance.audit.tree import Tree, verify_inclusion
from governance.models import AuditEntry, Checkpoint, Person
from governance.roles import AUDITOR
from governance.views.base import Visitor, desk_page, names_by_ref, need_role, whole_number

ENTRIES_A_PAGE = 50
_FILTERS = ("task", "action", "actor", "outcome", "object")


@require_safe
@desk_page
def audit_list(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Entries, newest first, filtered by task, action, actor, outcome or object."""
    _check_may_read(visitor)
    asked = {name: request.GET.get(name, "").strip()[:100] for name in _FILTERS}
    rows = _filtered(asked).order_by("-seq")
    before = request.GET.get("before", "")
    if before:
        rows = rows.filter(seq__lt=whole_number(before, 0))
    found = list(rows[: ENTRIES_A_PAGE + 1])
    shown = found[:ENTRIES_A_PAGE]
    names = names_by_ref({row.actor for row in shown})
    kept = urlencode({name: value for name, value in asked.items() if value})
    context: dict[str, Any] = {
        "here": "audit",
        "rows": [{"entry": row, "actor": names[row.actor]} for row in shown],
        "asked": asked,
        "kept": kept,
        "older": shown[-1].seq if len(found) > ENTRIES_A_PAGE else None,
        "paged": bool(before),
        "checkpoint": Checkpoint.objects.order_by("-size").first(),
        "size": (AuditEntry.objects.order_by("-seq").values_list("seq", flat=True).first() or -1) + 1,
        "may_export": AUDITOR in visitor.roles,
    }
    return render(request, "desk/audit.html", context)


@require_safe
@desk_page
def audit_entry(request: HttpRequest, visitor: Visitor, seq: int) -> HttpResponse:
    """One entry whole, its leaf hash, and whether the latest checkpoint provably includes it."""
    _check_may_read(visitor)
    entry = get_object_or_404(AuditEntry, seq=seq)
    names = names_by_ref({entry.actor})
    context = {
        "here": "audit",
        "entry": entry,
        "body": entry.entry(),
        "actor": names[entry.actor],
        "proof": _proof(entry),
        "newer": seq + 1 if AuditEntry.objects.filter(seq=seq + 1).exists() else None,
    }
    return render(request, "desk/audit_entry.html", context)


def _check_may_read(visitor: Visitor) -> None:
    allowed, why_not = rules.can(lambda: rules.check_may_read_log(visitor.actor))
    if not allowed:
        raise PermissionDenied(why_not)


def _filtered(asked: dict[str, str]) -> QuerySet[AuditEntry]:
    rows = AuditEntry.objects.all()
    if asked["actor"]:
        refs = Person.objects.filter(user__username=asked["actor"]).values_list("ref", flat=True)
        rows = rows.filter(actor__in=[asked["actor"], *refs])
    if asked["action"]:
        rows = rows.filter(action__startswith=asked["action"])
    if asked["object"]:
        rows = rows.filter(object_id=asked["object"])
    return rows.filter(**{name: asked[name] for name in ("task", "outcome") if asked[name]})


def _proof(entry: AuditEntry) -> dict[str, Any] | None:
    """The inclusion proof of an entry in the latest checkpoint, checked; None while no checkpoint covers it."""
    checkpoint = Checkpoint.objects.order_by("-size").first()
    if checkpoint is None or checkpoint.size <= entry.seq:
        return None
    leaves = AuditEntry.objects.filter(seq__lt=checkpoint.size).order_by("seq").values_list("leaf", flat=True)
    path = Tree(bytes.fromhex(leaf) for leaf in leaves.iterator()).inclusion_proof(entry.seq)
    root = bytes.fromhex(checkpoint.root)
    holds = verify_inclusion(bytes.fromhex(entry.leaf), entry.seq, checkpoint.size, path, root)
    return {"checkpoint": checkpoint, "holds": holds, "path": [node.hex() for node in path]}
