"""The audit log as a reading room: filter, page by sequence number, look at one entry with its proof, export."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from governance import rules
from governance.actions import note_event
from governance.assurance.export import export_bundle
from governance.assurance.verify import VERIFY_ACTION
from governance.audit.checkpoints import latest
from governance.audit.log import Facts
from governance.audit.queries import LogFilter, inclusion, recent_entries
from governance.desk.base import Visitor, desk_page, names_by_ref, whole_number
from governance.errors import GovernanceError, NotAllowed
from governance.models import AuditEntry, AuditHead, Person, Witnessing
from governance.roles import AUDITOR

ENTRIES_A_PAGE = 50
_FILTERS = ("task", "action", "actor", "outcome", "object")


@require_safe
@desk_page
def audit_list(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Entries, newest first, filtered by task, action, actor, outcome or object."""
    _check_may_read(visitor)
    asked = {name: request.GET.get(name, "").strip()[:100] for name in _FILTERS}
    before = whole_number(request.GET.get("before"), -1)
    found = recent_entries(_filter(asked), before if before >= 0 else None, ENTRIES_A_PAGE + 1)
    shown = found[:ENTRIES_A_PAGE]
    names = names_by_ref({row.actor for row in shown})
    kept = urlencode({name: value for name, value in asked.items() if value})
    context: dict[str, Any] = {
        "here": "audit",
        "rows": [{"entry": row, "actor": names[row.actor]} for row in shown],
        "asked": asked,
        "kept": kept,
        "older": shown[-1].seq if len(found) > ENTRIES_A_PAGE else None,
        "paged": before >= 0,
        "checkpoint": latest(),
        "size": AuditHead.objects.values_list("size", flat=True).first() or 0,
        "may_export": AUDITOR in visitor.roles,
        "witnesses": _witnesses(),
        "verified": AuditEntry.objects.filter(action=VERIFY_ACTION).order_by("-seq").first(),
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
        "proof": inclusion(entry, latest()),
        "newer": seq + 1 if AuditEntry.objects.filter(seq=seq + 1).exists() else None,
    }
    return render(request, "desk/audit_entry.html", context)


@require_POST
@desk_page
def audit_export(request: HttpRequest, visitor: Visitor) -> HttpResponseBase:
    """The whole log as a zip bundle that verifies offline; the export is itself an entry. Auditors only."""
    with tempfile.TemporaryDirectory(prefix="pawl-export-") as folder:
        path = Path(folder) / "bundle.zip"
        try:
            bundle = export_bundle(path, by=visitor.actor)
        except NotAllowed as refusal:
            raise PermissionDenied(str(refusal)) from refusal
        except GovernanceError as error:
            messages.error(request, str(error))
            return redirect("desk:audit")
        return FileResponse(path.open("rb"), as_attachment=True, filename=f"pawl-audit-{bundle.size}.zip")


def _check_may_read(visitor: Visitor) -> None:
    """Raises PermissionDenied, and records the refusal, unless the visitor may read the log."""
    allowed, why_not = rules.can(lambda: rules.check_may_read_log(visitor.actor))
    if not allowed:
        facts = Facts(outcome="denied", reason=why_not)
        note_event(by=visitor.actor, action="audit.read", subject=("log", "entries"), facts=facts)
        raise PermissionDenied(why_not)


def _filter(asked: dict[str, str]) -> LogFilter:
    """The filter as the log knows it: people are named by their refs there."""
    person = Person.objects.filter(user__username=asked["actor"]).first() if asked["actor"] else None
    return LogFilter(
        task=asked["task"],
        actor=person.ref if person else asked["actor"],
        action=asked["action"],
        outcome=asked["outcome"],
        object_id=asked["object"],
    )


def _witnesses() -> list[Witnessing]:
    """The last answer of each witness, by name."""
    last: dict[str, Witnessing] = {}
    for row in Witnessing.objects.order_by("-size")[:200]:
        last.setdefault(row.witness, row)
    return [last[name] for name in sorted(last)]
