"""Promotion and signing in read the log: what rows say must be what was recorded when it was said."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet

from governance.audit.rows import ROWS, digests
from governance.errors import NotAllowed
from governance.models import AuditEntry, Person, Proposal, Review

SEALING = ("person.add", "person.password", "person.seal")


def check_against_log(proposal: Proposal, approvals: Iterable[Review]) -> None:
    """Raises NotAllowed when the proposal or one of its approvals is not as the log recorded it.

    Rows can be edited by whoever owns the database; entries cannot, without the checkpoints showing it.
    """
    ready = _newest(proposal, "proposal.ready")
    told = {
        "lane": proposal.lane,
        "excluded": proposal.excluded,
        "key": proposal.key,
        "subject": proposal.subject,
    }
    differs = [name for name, value in told.items() if ready.get("detail", {}).get(name) != value]
    if ready.get("subject_digest") != proposal.subject_digest:
        differs.append("subject digest")
    if differs:
        raise NotAllowed(
            f"The proposal's {' and '.join(differs)} are not what the log recorded; it was tampered with."
        )
    recorded = _approvals(proposal)
    for given in approvals:
        if recorded.get(given.nonce) != (given.person.ref, given.subject_digest):
            raise NotAllowed(f"The log knows no such approval by {given.person}; it was tampered with.")


def check_account(person: Person) -> None:
    """Raises NotAllowed when the person's account (name, password, rights) is not as the log recorded it last.

    So a password that was written into the database opens nothing, though nobody may have looked yet.
    """
    newest = AuditEntry.objects.filter(
        action__in=SEALING, outcome="allowed", object_type="person", object_id=person.ref
    ).order_by("seq")
    entry = newest.last()
    table, key = Person._meta.db_table, str(person.pk)
    recorded = entry.entry()["detail"].get(ROWS, {}).get(table, {}).get(key) if entry else None
    if recorded != dict(digests(Person, [person.pk])).get(key):
        raise NotAllowed(
            f"The account of {person} is not as the log recorded it: somebody changed it behind the log. Two evaluator "
            "owners can vouch for it (manage.py people reset); until then it opens nothing."
        )


def _newest(proposal: Proposal, action: str) -> dict[str, Any]:
    entry = _entries(proposal, action).last()
    return entry.entry() if entry else {}


def _approvals(proposal: Proposal) -> dict[str, tuple[str, str]]:
    """{nonce: (person, subject digest)} of the approvals in the log."""
    entries = [row.entry() for row in _entries(proposal, "proposal.review")]
    return {
        entry["detail"]["nonce"]: (entry["actor"]["ref"], entry["subject_digest"])
        for entry in entries
        if entry["detail"]["verdict"] == Review.Verdict.APPROVE
    }


def _entries(proposal: Proposal, action: str) -> QuerySet[AuditEntry]:
    return AuditEntry.objects.filter(
        action=action, outcome="allowed", object_type="proposal", object_id=proposal.ref
    ).order_by("seq")
