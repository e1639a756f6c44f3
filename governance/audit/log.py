"""Append to the log: one entry, one leaf, one gapless number, in the caller's own transaction."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal

from django.db import connection

from governance.actors import Actor
from governance.audit import rows
from governance.audit.entries import ENTRY_VERSION, shape_problem
from governance.audit.tree import leaf_hash
from governance.digests import canonical_json
from governance.errors import AuditError, BadInput
from governance.models import AuditEntry, AuditHead

MAX_ENTRY_BYTES = 65_535


@dataclass(frozen=True, slots=True)
class Facts:
    """What an entry says beside who did what to which object.

    `before`, `after` and `subject_digest` are SHA-256 digests (hex) or empty; `policy` is {digest, version};
    `evidence` holds {name, digest, media_type, size}; `detail` is small extra JSON.
    """

    outcome: Literal["allowed", "denied", "failed"] = "allowed"
    subject_digest: str = ""
    before: str = ""
    after: str = ""
    reason: str = ""
    policy: Mapping[str, str] | None = None
    evidence: tuple[Mapping[str, Any], ...] = ()
    cause: str = ""
    request_id: str = ""
    on_behalf_of: str = ""
    task: str = ""
    detail: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def record(*, by: Actor, action: str, subject: tuple[str, str], facts: Facts = Facts()) -> AuditEntry:
    """Append one entry; `subject` is (object type, object id).

    Must run in a transaction, so that the act and its entry stand or fall together. The log's head stays
    locked until that transaction ends, so numbers have no gaps and entries appear in their order.
    Raises AuditError when there is no transaction, or when the entry cannot be written down or is too large.
    """
    if not connection.in_atomic_block:
        raise AuditError(f"The entry {action} was not written: call record() inside transaction.atomic().")
    _check_widths(by, action, subject, facts)
    written = rows.take()
    seq = _next_seq()
    now = datetime.now(UTC)
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    entry = {
        "v": ENTRY_VERSION,
        "seq": seq,
        "id": str(_uuid7()),
        "time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "actor": by.as_entry(),
        "on_behalf_of": facts.on_behalf_of,
        "action": action,
        "outcome": facts.outcome,
        "object": {"type": subject[0], "id": subject[1]},
        "subject_digest": facts.subject_digest,
        "before": facts.before,
        "after": facts.after,
        "reason": facts.reason,
        "policy": dict(facts.policy) if facts.policy else {"digest": "", "version": ""},
        "evidence": [dict(item) for item in facts.evidence],
        "cause": facts.cause,
        "request_id": facts.request_id,
        "task": facts.task,
        "detail": {**facts.detail, rows.ROWS: written} if written else dict(facts.detail),
    }
    if problem := shape_problem(entry):
        raise AuditError(f"The entry {action} was not written: {problem}.")
    body = _canonical(entry)
    return AuditEntry.objects.create(
        seq=seq,
        body=body.decode(),
        leaf=leaf_hash(body).hex(),
        time=now,
        action=action,
        outcome=facts.outcome,
        actor=by.ref,
        object_type=subject[0],
        object_id=subject[1],
        task=facts.task,
    )


def _check_widths(by: Actor, action: str, subject: tuple[str, str], facts: Facts) -> None:
    """Raises AuditError for a text that its column cannot hold (some databases would take it), and for false rows."""
    if rows.ROWS in facts.detail:
        raise AuditError(f"The entry {action} was not written: `{rows.ROWS}` in its detail is the log's own.")
    texts = {
        "action": action,
        "actor": by.ref,
        "object_type": subject[0],
        "object_id": subject[1],
        "task": facts.task,
    }
    for name, text in texts.items():
        limit = getattr(AuditEntry._meta.get_field(name), "max_length", None)
        if limit is not None and len(text) > limit:
            what = name.replace("_", " ")
            raise AuditError(
                f"The entry {action[:64]} has {len(text)} characters as its {what}; {limit} fit."
            )


def lock_head() -> int:
    """Lock the log until the transaction ends; the number that the next entry gets. Needs a transaction."""
    rows = AuditHead.objects.select_for_update().filter(pk=1)
    head = rows.first()
    if head is None:
        AuditHead.objects.bulk_create([AuditHead(pk=1, size=0)], ignore_conflicts=True)
        head = rows.get()
    return head.size


def _next_seq() -> int:
    """Lock the head until the transaction ends and take the next number (from 0)."""
    seq = lock_head()
    AuditHead.objects.filter(pk=1).update(size=seq + 1)
    return seq


def _canonical(entry: dict[str, Any]) -> bytes:
    """The entry's canonical bytes. Raises AuditError when they cannot be made or are too many."""
    try:
        body = canonical_json(entry)
    except (BadInput, TypeError, RecursionError) as error:
        raise AuditError(f"The entry {entry['action']} was not written: {error}") from error
    if len(body) > MAX_ENTRY_BYTES:
        raise AuditError(
            f"The entry {entry['action']} has {len(body):,} bytes, the log takes {MAX_ENTRY_BYTES:,}; "
            "store the large part as evidence and name it by its digest."
        )
    return body


def _uuid7() -> uuid.UUID:
    """A UUID of version 7 (RFC 9562): 48 bits of Unix milliseconds, then random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return uuid.UUID(int=value)
