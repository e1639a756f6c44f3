"""Refusals that outlive a transaction: kept in a file at once, and put in the log by the next upkeep.

A refused act inside somebody else's transaction is usually rolled back with it, and so would be the record of the
refusal. Each line has an id, so that a file that was put in the log, but not removed in time, is not put there twice.
"""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from governance.actors import Actor
from governance.audit.log import Facts, record
from governance.models import AuditEntry


def in_transaction() -> bool:
    """Whether a transaction is open that may yet be rolled back (that of a test case does not count)."""
    return any(not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)


def keep_refusal(by: Actor, action: str, subject: tuple[str, str], reason: str, task: str) -> None:
    """Write a refusal down, on disk before this returns."""
    line = {
        "id": uuid.uuid4().hex,
        "by": by.as_entry(),
        "action": action,
        "subject": subject,
        "reason": reason,
        "task": task,
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    with _path().open("a", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.write(json.dumps(line) + "\n")
        handle.flush()
        os.fsync(handle.fileno())


def log_refusals() -> int:
    """Put the refusals that were kept in the log; returns how many were new to it."""
    path, count = _path(), 0
    with path.open("a+", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.seek(0)
        with transaction.atomic():
            for line in handle:
                count += _log_once(json.loads(line))
        handle.truncate(0)
    return count


def _log_once(kept: dict[str, Any]) -> bool:
    action, (kind, name) = kept["action"], kept["subject"]
    known = AuditEntry.objects.filter(
        action=action, object_type=kind, object_id=name, outcome="denied", body__contains=kept["id"]
    )
    if known.exists():
        return False
    facts = Facts(
        outcome="denied",
        reason=kept["reason"],
        task=kept["task"],
        request_id=kept["id"],
        detail={"refused_at": kept["at"]},
    )
    record(by=Actor(**kept["by"]), action=action, subject=(kind, name), facts=facts)
    return True


def _path() -> Path:
    folder = Path(settings.PAWL_HOME) / "run"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / "refusals.jsonl"
