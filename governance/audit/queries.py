"""Reading the log: filters, pages of recent entries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from governance.audit.stored_tree import StoredTree
from governance.audit.tree import leaf_hash, verify_inclusion
from governance.errors import AuditError
from governance.models import AuditEntry, Checkpoint

MAX_PAGE = 500


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which entries; an empty field does not filter. `action` may end in a dot to mean a family (`proposal.`)."""

    task: str = ""
    actor: str = ""
    action: str = ""
    outcome: str = ""
    object_id: str = ""
    start: datetime | None = None
    end: datetime | None = None

    def described(self) -> dict[str, str]:
        """The fields that filter, as an entry and a manifest state them; times in ISO form, `end` excluded."""
        texts = {name: getattr(self, name) for name in ("task", "actor", "action", "outcome", "object_id")}
        times = {"start": self.start, "end": self.end}
        texts |= {name: moment.isoformat() for name, moment in times.items() if moment is not None}
        return {name: text for name, text in texts.items() if text}

    def condition(self) -> Q:
        """The filter as a condition on entries."""
        names = ("task", "actor", "outcome", "object_id")
        wanted = {name: value for name in names if (value := getattr(self, name))}
        if self.action:
            wanted["action__startswith" if self.action.endswith(".") else "action"] = self.action
        if self.start is not None:
            wanted["time__gte"] = self.start
        if self.end is not None:
            wanted["time__lt"] = self.end
        return Q(**wanted)

    def apply(self) -> QuerySet[AuditEntry]:
        """The matching rows, in no particular order."""
        return AuditEntry.objects.filter(self.condition())


def recent_entries(
    filters: LogFilter = LogFilter(), before_seq: int | None = None, limit: int = 100
) -> list[AuditEntry]:
    """Matching entries, newest first, numbered below `before_seq` when it is given; at most MAX_PAGE."""
    rows = filters.apply()
    if before_seq is not None:
        rows = rows.filter(seq__lt=before_seq)
    return list(rows.order_by("-seq")[: min(max(limit, 0), MAX_PAGE)])


def inclusion(entry: AuditEntry, checkpoint: Checkpoint | None) -> dict[str, Any] | None:
    """{checkpoint, holds, path}: whether the checkpoint includes the entry as it is stored; None when it is older."""
    if checkpoint is None or checkpoint.size <= entry.seq:
        return None
    try:
        path = StoredTree(checkpoint.size).inclusion_proof(entry.seq)
    except AuditError:
        path = []
    leaf, root = leaf_hash(entry.body.encode()), bytes.fromhex(checkpoint.root)
    holds = verify_inclusion(leaf, entry.seq, checkpoint.size, path, root)
    return {"checkpoint": checkpoint, "holds": holds, "path": [node.hex() for node in path]}
