"""How closely a reviewer looked: measured at the desk, never guessed. What was not measured is None, not zero."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from governance import diffs
from governance.actors import Actor
from governance.diffs import FileDiff
from governance.digests import json_digest
from governance.errors import BadInput
from governance.models import AuditEntry, Evidence, Person, Proposal, Seen


@dataclass(frozen=True, slots=True)
class Attention:
    """Seconds from the first reading to the verdict, files marked as viewed, pieces of evidence opened; None where
    nothing was measured (a verdict given at the command line, a diff that cannot be read).
    """

    dwell_s: float | None = None
    files_changed: int | None = None
    files_viewed: int | None = None
    evidence_given: int | None = None
    evidence_opened: int | None = None

    def facts(self) -> dict[str, Any]:
        """As columns of a review and as part of its entry."""
        return asdict(self)


def file_mark(file: FileDiff) -> str:
    """What a mark of a changed file is kept by: its path and its new content (of a removed one, the old)."""
    content = [file.new_mode, file.new_sha256] if file.new_sha256 else ["removed", file.old_sha256]
    return json_digest([file.path, *content])


def reading_began(proposal: Proposal, person: Person) -> datetime | None:
    """When this person first opened the proposal with the subject that it has now; None if never at the desk."""
    entry = AuditEntry.objects.filter(
        action="evidence.read",
        actor=person.ref,
        object_type="proposal",
        object_id=proposal.ref,
        body__contains=f'"subject_digest":"{proposal.subject_digest}"',
    )
    return entry.order_by("seq").values_list("time", flat=True).first()


def attention_of(proposal: Proposal, person: Person, by: Actor, now: datetime) -> Attention:
    """What this person looked at before the verdict that they give now."""
    if by.auth != "session":
        return Attention()
    began = reading_began(proposal, person)
    marks = file_marks(proposal)
    evidence = set(proposal.evidence.exclude(name="diff").values_list("sha256", flat=True))
    return Attention(
        dwell_s=None if began is None else round((now - began).total_seconds(), 1),
        files_changed=None if marks is None else len(marks),
        files_viewed=None if marks is None else _seen(person, Seen.Kind.FILE, marks),
        evidence_given=len(evidence),
        evidence_opened=_seen(person, Seen.Kind.EVIDENCE, evidence),
    )


def file_marks(proposal: Proposal) -> set[str] | None:
    """The marks of all files that the proposal changes; None when its diff cannot be read."""
    row = Evidence.objects.filter(proposal=proposal, name="diff").first()
    if row is None:
        return set()
    try:
        trees = diffs.unpack(json.loads(row.data()))
    except (ValueError, BadInput):
        return None
    return {file_mark(file) for file in diffs.tree_diff(*trees)}


def _seen(person: Person, kind: str, digests: set[str]) -> int:
    return Seen.objects.filter(person=person, kind=kind, digest__in=digests).count()
