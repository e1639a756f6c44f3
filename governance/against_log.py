"""Promotion reads the log: what a proposal's rows say must be what was recorded when it was said."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet

from governance.errors import NotAllowed
from governance.models import AuditEntry, Proposal, Review


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
