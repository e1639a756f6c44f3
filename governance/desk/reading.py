"""Reading a proposal: what is recorded when people look, and what changed since they looked last."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST, require_safe

from governance import actions, diffs
from governance.attention import file_mark, reading_began
from governance.audit.log import Facts
from governance.desk.base import Visitor, desk_page
from governance.desk.evidence import raw_text
from governance.desk.interdiff import former_review, interdiff
from governance.desk.rendering import ShownFile, View, packed, render_file, shown_files
from governance.errors import BadInput
from governance.models import Evidence, Person, Proposal, Review, Seen
from governance.subjects import current_subject, moved_parts
from governance.transitions import Status

Parts = list[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """One file of an interdiff, drawn."""

    diff: diffs.FileDiff
    html: SafeString


@dataclass(frozen=True, slots=True)
class Since:
    """What changed between what a person judged last and what is asked now. `unknown` are paths without texts."""

    review: Review
    parts: Parts
    files: list[ChangedFile]
    unknown: tuple[str, ...]
    broken: str


@require_POST
@desk_page
def seen_file(request: HttpRequest, visitor: Visitor, ref: str) -> HttpResponse:
    """Mark one changed file as viewed, or take the mark back; the mark holds for this content wherever it appears."""
    evidence = get_object_or_404(Evidence, proposal__ref=ref, name="diff")
    file = _shown(evidence, request.POST.get("index", ""))
    seen = request.POST.get("seen") == "1"
    actions.mark_seen(kind=Seen.Kind.FILE, digest=file_mark(file.diff), seen=seen, by=visitor.actor)
    if "HX-Request" in request.headers:
        viewed = {file.index} if seen else set()
        context = {"proposal": evidence.proposal, "file": file, "viewed": viewed}
        return render(request, "desk/_seen.html", context)
    return redirect(f"{reverse('desk:proposal', args=[ref])}#file-{file.index}")


@require_safe
@desk_page
def evidence_page(request: HttpRequest, visitor: Visitor, ref: str, name: str) -> HttpResponse:
    """One piece of evidence as it was handed in; opening it is remembered for the reader's verdict."""
    evidence = get_object_or_404(
        Evidence.objects.select_related("proposal__task"), proposal__ref=ref, name=name
    )
    note_reading(evidence.proposal, visitor)
    actions.mark_seen(kind=Seen.Kind.EVIDENCE, digest=evidence.sha256, seen=True, by=visitor.actor)
    context = {"here": "inbox", "item": evidence, "proposal": evidence.proposal, "text": raw_text(evidence)}
    return render(request, "desk/evidence.html", context)


def note_reading(proposal: Proposal, visitor: Visitor) -> None:
    """Record, once a subject, that this person read the evidence."""
    if not proposal.subject_digest or reading_began(proposal, visitor.person):
        return
    task = proposal.task.slug if proposal.task else ""
    facts = Facts(subject_digest=proposal.subject_digest, task=task)
    with transaction.atomic():
        subject = ("proposal", proposal.ref)
        actions.note_event(by=visitor.actor, action="evidence.read", subject=subject, facts=facts)


def viewed_files(files: list[ShownFile], person: Person) -> set[int]:
    """The indexes of the files that this person marked as viewed."""
    marks = {file_mark(file.diff): file.index for file in files}
    seen = Seen.objects.filter(person=person, kind=Seen.Kind.FILE, digest__in=marks)
    return {marks[digest] for digest in seen.values_list("digest", flat=True)}


def opened_evidence(proposal: Proposal, person: Person) -> set[str]:
    """The digests of the pieces of evidence that this person opened."""
    digests = proposal.evidence.values_list("sha256", flat=True)
    seen = Seen.objects.filter(person=person, kind=Seen.Kind.EVIDENCE, digest__in=list(digests))
    return set(seen.values_list("digest", flat=True))


def moved_of(proposal: Proposal) -> Parts:
    """Of a stale or expired proposal: the parts of its subject that are not what they were, old and new."""
    if proposal.status not in {Status.STALE, Status.EXPIRED} or not proposal.subject:
        return []
    return moved_parts(proposal.subject, current_subject(proposal))


def since_last(proposal: Proposal, person: Person, view: View) -> Since | None:
    """What changed since this person last gave a verdict on this pointer; None if they never did."""
    review = former_review(proposal, person)
    if review is None:
        return None
    former = review.proposal
    parts = moved_parts(former.subject, proposal.subject)
    if former.pk == proposal.pk:
        return Since(review, parts, [], (), "")
    try:
        found = interdiff(former, proposal)
        body = packed(found.old, found.new)
        files = [
            ChangedFile(file.diff, render_file(body, file.index, view)) for file in shown_files(body, view)
        ]
    except BadInput as broken:
        return Since(review, parts, [], (), str(broken))
    return Since(review, parts, files, found.unknown, "")


def _shown(evidence: Evidence, index: str) -> ShownFile:
    try:
        files = shown_files(evidence.data(), "unified")
    except BadInput as broken:
        raise Http404(str(broken)) from broken
    if not index.isdigit() or int(index) >= len(files):
        raise Http404(f"The diff has {len(files)} files; there is no file {index!r}.")
    return files[int(index)]
