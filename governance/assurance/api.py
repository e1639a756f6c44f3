"""The audit log and what is live, as JSON: for people who are signed in and may read the log, and for read tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from governance import rules
from governance.assurance.leases import grant_lease
from governance.assurance.receipts import make_receipt
from governance.audit import checkpoints
from governance.audit.lease import NONCE
from governance.audit.queries import MAX_PAGE
from governance.audit.tokens import note_reading, reader
from governance.errors import AuditError, BadInput, NotAllowed
from governance.models import AuditEntry, Release, Task
from governance.people import person_for_user
from governance.pointers import live_release, release_key

View = Callable[..., HttpResponse]


def _reader_only(view: View) -> View:
    """Answer 401 to strangers and 403, with the rule's own sentence, to people who may not read the log."""

    @wraps(view)
    def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            by = reader(token.strip())
            if by is None:
                return _refused("This token is unknown or revoked.", 401)
            note_reading(by, timezone.now())
            return view(request, **kwargs)
        person = person_for_user(request.user)
        if person is None:
            return _refused("Sign in first, or send a read token (Authorization: Bearer ...).", 401)
        try:
            rules.check_may_read_log(person.actor("session"))
        except NotAllowed as refusal:
            return _refused(str(refusal), 403)
        return view(request, **kwargs)

    return require_safe(guarded)


def _refused(why: str, status: int) -> JsonResponse:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JsonResponse({"error": why}, status=status, headers=headers)


@_reader_only
def audit_checkpoint(request: HttpRequest) -> HttpResponse:
    """The newest checkpoint: size, root (hex), the signed note and the key that signed it."""
    checkpoint = checkpoints.latest()
    if checkpoint is None:
        return _refused("The log has not been signed yet.", 404)
    try:
        key = str(checkpoints.get_signer().key())
    except AuditError as error:
        return _refused(str(error), 503)
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
def audit_entries(request: HttpRequest) -> HttpResponse:
    """Entries in order from number `from` (0 by default), at most `limit` of them.

    `next` is where to go on, now or later: keep it and nothing is lost or read twice. `more` says whether there is
    something there already. Each row has the entry, its number and its leaf hash (hex). A page never changes once it
    is full, so its ETag lets a consumer ask again for nothing.
    """
    start, limit = _whole(request, "from", 0), _whole(request, "limit", 100)
    if start is None or limit is None or not 1 <= limit <= MAX_PAGE:
        return _refused(f"`from` is a number from 0 on, `limit` one from 1 to {MAX_PAGE}.", 400)
    rows = list(AuditEntry.objects.filter(seq__gte=start).order_by("seq")[: limit + 1])
    more, rows = len(rows) > limit, rows[:limit]
    etag = f'"{start}-{len(rows)}-{int(more)}-{rows[-1].leaf[:32] if rows else ""}"'
    if request.headers.get("If-None-Match") == etag:
        return HttpResponse(status=304, headers={"ETag": etag})
    shown = [{"seq": row.seq, "leaf": row.leaf, "entry": json.loads(row.body)} for row in rows]
    following = rows[-1].seq + 1 if rows else start
    return JsonResponse({"entries": shown, "next": following, "more": more}, headers={"ETag": etag})


@_reader_only
def task_live(request: HttpRequest, slug: str) -> HttpResponse:
    """What is live for a task: release, its parts by digest, and the receipt of the move that made it live."""
    return _told(slug, lambda task: _shown(live_release(task), make_receipt(release_key(task))))


@_reader_only
def task_lease(request: HttpRequest, slug: str) -> HttpResponse:
    """The same with a serving lease of 30 seconds on the caller's `nonce`; 409 while a stop covers the task."""
    now, nonce = timezone.now(), request.GET.get("nonce", "")
    if not NONCE.fullmatch(nonce):
        return _refused("`nonce` is 32 hexadecimal digits that you draw anew for each request.", 400)

    def leased(task: Task) -> dict[str, Any]:
        grant = grant_lease(task, nonce, now)
        return {**_shown(grant.release, grant.receipt), "lease": grant.lease}

    return _told(slug, leased)


def _told(slug: str, tell: Callable[[Task], dict[str, Any]]) -> HttpResponse:
    """What is told about a task, or why it is not: 404 nothing there, 409 stopped, 503 the log cannot vouch for it."""
    task = Task.objects.filter(slug=slug).first()
    if task is None:
        return _refused(f"Task {slug!r} is not installed.", 404)
    try:
        return JsonResponse({"task": slug, **tell(task)})
    except BadInput as nothing:
        return _refused(str(nothing), 404)
    except NotAllowed as stopped:
        return _refused(str(stopped), 409)
    except AuditError as error:
        return _refused(str(error), 503)


def _shown(release: Release, receipt: dict[str, Any]) -> dict[str, Any]:
    return {
        "release": release.digest,
        "harness": release.harness.digest,
        "adapter": release.adapter.digest if release.adapter else None,
        "binding": release.binding,
        "receipt": receipt,
    }


def _whole(request: HttpRequest, name: str, default: int) -> int | None:
    text = request.GET.get(name, str(default))
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 15 else None
