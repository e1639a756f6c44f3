"""The audit log as JSON, for people who are signed in and may read it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_GET

from governance import rules
from governance.audit import checkpoints
from governance.audit.queries import MAX_PAGE
from governance.errors import AuditError, NotAllowed
from governance.models import AuditEntry
from governance.people import person_for_user

View = Callable[[HttpRequest], JsonResponse]


def _reader_only(view: View) -> View:
    """Answer 401 to strangers and 403, with the rule's own sentence, to people who may not read the log."""

    @wraps(view)
    def guarded(request: HttpRequest) -> JsonResponse:
        person = person_for_user(request.user)
        if person is None:
            return JsonResponse({"error": "Sign in first."}, status=401)
        try:
            rules.check_may_read_log(person.actor("session"))
        except NotAllowed as refusal:
            return JsonResponse({"error": str(refusal)}, status=403)
        return view(request)

    return require_GET(guarded)


@_reader_only
def audit_checkpoint(request: HttpRequest) -> JsonResponse:
    """The newest checkpoint: size, root (hex), the signed note and the key that signed it."""
    checkpoint = checkpoints.latest()
    if checkpoint is None:
        return JsonResponse({"error": "The log has not been signed yet."}, status=404)
    try:
        key = str(checkpoints.get_signer().key())
    except AuditError as error:
        return JsonResponse({"error": str(error)}, status=503)
    return JsonResponse(
        {
            "size": checkpoint.size,
            "root": checkpoint.root,
            "note": checkpoint.note,
            "key": key,
            "time": checkpoint.time.isoformat(timespec="milliseconds"),
        }
    )


@_reader_only
def audit_entries(request: HttpRequest) -> JsonResponse:
    """Entries in order from number `from` (0 by default), at most `limit` of them; `next` is where to go on.

    `next` is null once the page ends the log. Each row has the entry, its number and its leaf hash (hex).
    """
    start, limit = _whole(request, "from", 0), _whole(request, "limit", 100)
    if start is None or limit is None or not 1 <= limit <= MAX_PAGE:
        return JsonResponse(
            {"error": f"`from` is a number from 0 on, `limit` one from 1 to {MAX_PAGE}."}, status=400
        )
    rows = list(AuditEntry.objects.filter(seq__gte=start).order_by("seq")[: limit + 1])
    shown: list[dict[str, Any]] = [
        {"seq": row.seq, "leaf": row.leaf, "entry": json.loads(row.body)} for row in rows[:limit]
    ]
    following = rows[limit].seq if len(rows) > limit else None
    return JsonResponse({"entries": shown, "next": following})


def _whole(request: HttpRequest, name: str, default: int) -> int | None:
    text = request.GET.get(name, str(default))
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 15 else None
