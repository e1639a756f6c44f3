"""The decision record of a proposal: one page to print, with who decided what on which evidence, proven by the log."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from governance.actions import note_event
from governance.assurance.rotation import log_keys
from governance.audit.checkpoints import latest
from governance.audit.log import Facts
from governance.audit.queries import inclusion
from governance.desk.base import Visitor, desk_page, names_by_ref
from governance.desk.evidence import cards
from governance.errors import AuditError
from governance.models import AuditEntry, PointerMove, Proposal
from governance.subjects import PARTS
from governance.transitions import OPEN


@require_safe
@desk_page
def decision_record(request: HttpRequest, visitor: Visitor, ref: str) -> HttpResponse:
    """The record of a proposal that was decided; there is none while it is open. Reading it is an entry."""
    proposal = get_object_or_404(Proposal.objects.select_related("task"), ref=ref)
    if proposal.status in OPEN:
        raise Http404("This proposal is not decided yet, so there is no record of its decision.")
    facts = Facts(subject_digest=proposal.subject_digest, task=proposal.task.slug if proposal.task else "")
    note_event(by=visitor.actor, action="record.read", subject=("proposal", ref), facts=facts)
    moves = list(PointerMove.objects.filter(proposal_ref=ref).order_by("pk"))
    entries, checkpoint = _entries(proposal, moves), latest()
    reviews = list(proposal.reviews.select_related("person__user").order_by("created_at", "pk"))
    people = {proposal.proposed_by, *proposal.excluded, *(row.actor for row in entries)}
    names = names_by_ref(people | {move.moved_by for move in moves})
    context: dict[str, Any] = {
        "proposal": proposal,
        "names": names,
        "proposer": names[proposal.proposed_by],
        "excluded": [names[person] for person in proposal.excluded],
        "subject": [(words, proposal.subject.get(part, "")) for part, words in PARTS.items()],
        "reviews": reviews,
        "moves": [{"move": move, "by": names[move.moved_by]} for move in moves],
        "evidence": list(proposal.evidence.order_by("name")),
        "cards": [card for card in cards(list(proposal.evidence.all())) if card.template == "comparison"],
        "entries": [
            {"row": row, "by": names[row.actor], "proof": inclusion(row, checkpoint)} for row in entries
        ],
        "checkpoint": checkpoint,
        "keys": _keys(),
    }
    return render(request, "desk/record.html", context)


def _entries(proposal: Proposal, moves: list[PointerMove]) -> list[AuditEntry]:
    """The acts on this proposal, and the moves of the pointer that it made."""
    about = Q(object_type="proposal", object_id=proposal.ref, action__startswith="proposal.")
    rows = list(AuditEntry.objects.filter(about).order_by("seq"))
    if moves:
        moved = AuditEntry.objects.filter(action="pointer.move", outcome="allowed", object_id=proposal.key)
        rows += [
            row for row in moved.order_by("seq") if row.entry()["detail"].get("proposal") == proposal.ref
        ]
    return sorted(rows, key=lambda row: row.seq)


def _keys() -> list[str]:
    try:
        return [str(key) for key in log_keys()]
    except AuditError:
        return []
