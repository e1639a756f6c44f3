"""One proposal: its evidence, its diff, its reviews, and the forms by which people decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from governance import actions, rules
from governance.desk.acts import Refusal, check_step_up, posted_reason, refusal_of
from governance.desk.base import Visitor, desk_page, names_by_ref
from governance.desk.evidence import cards, read_json, score_delta
from governance.desk.interdiff import LAPSED, successor
from governance.desk.needs import needs_of
from governance.desk.reading import Since, moved_of, note_reading, opened_evidence, since_last, viewed_files
from governance.desk.rendering import ShownFile, View, render_file, shown_files
from governance.errors import BadInput, GovernanceError, NotAllowed, Stale
from governance.models import Evidence, PointerMove, Proposal, Review
from governance.transitions import DECIDABLE, OPEN, Status

UNREADABLE = "The diff cannot be shown, so this cannot be approved."
_VERDICTS = ("approve", "reject", "request_changes")
_STEPPED_UP = frozenset({"approve", "promote", "revert", "acknowledge"})
_DONE = {
    "approve": "Your approval is recorded.",
    "reject": "Your rejection is recorded.",
    "request_changes": "Your request for changes is recorded.",
    "promote": "Promoted: it is live now.",
    "revert": "Reverted: the earlier release is live again.",
    "acknowledge": "Your review afterwards is recorded.",
    "withdraw": "The proposal is withdrawn.",
}


@dataclass(frozen=True, slots=True)
class Button:
    """One act that the page offers; when refused it is shown disabled with the rule's own sentence."""

    act: str
    label: str
    css: str
    allowed: bool
    why_not: str


@dataclass(frozen=True, slots=True)
class Form:
    """Acts that share one reason; `step_up` asks for the password again."""

    title: str
    buttons: tuple[Button, ...]
    step_up: bool

    @property
    def open(self) -> bool:
        """Whether any of its acts is allowed."""
        return any(button.allowed for button in self.buttons)

    @property
    def refusals(self) -> list[str]:
        """The sentences of the refused acts, each once."""
        return list(dict.fromkeys(button.why_not for button in self.buttons if button.why_not))


@require_safe
@desk_page
def proposal_page(request: HttpRequest, visitor: Visitor, ref: str) -> HttpResponse:
    """Everything that a decision about one proposal needs. Reading its evidence is recorded, once a subject."""
    proposal = _find(ref)
    note_reading(proposal, visitor)
    return _page(request, visitor, proposal, None)


@require_safe
@desk_page
def diff_file(request: HttpRequest, visitor: Visitor, ref: str, index: int) -> HttpResponse:
    """One long file of the diff as a fragment, drawn when it is opened."""
    evidence = get_object_or_404(Evidence, proposal__ref=ref, name="diff")
    try:
        html = render_file(evidence.data(), index, _view(request))
    except BadInput as missing:
        raise Http404(str(missing)) from missing
    return HttpResponse(html)


@require_POST
@desk_page
def proposal_act(request: HttpRequest, visitor: Visitor, ref: str) -> HttpResponse:
    """Carry out one act on a proposal; a refusal shows the page again with the rule's sentence."""
    proposal = _find(ref)
    act = request.POST.get("act", "")
    try:
        target = _carry_out(act, proposal, request, visitor)
    except GovernanceError as error:
        proposal = _find(ref)
        return _page(request, visitor, proposal, refusal_of(error, request))
    messages.success(request, _DONE[act])
    return redirect("desk:proposal", target.ref)


def _carry_out(act: str, proposal: Proposal, request: HttpRequest, visitor: Visitor) -> Proposal:
    """Do what was asked; returns the proposal to show next."""
    if act not in _DONE:
        raise BadInput(f"The desk knows no act {act!r}; use the buttons of the page.")
    digest, by, reason = request.POST.get("subject_digest", ""), visitor.actor, posted_reason(request)
    if digest != proposal.subject_digest:
        raise Stale("What you read is not what this proposal is now; read it again before you decide.")
    if act in _STEPPED_UP:
        check_step_up(request, visitor, ("proposal", proposal.ref))
    if act == "approve":
        _check_diff_can_be_read(proposal)
    if act in _VERDICTS:
        actions.review(proposal=proposal, verdict=act, reason=reason, subject_digest=digest, by=by)
    elif act == "promote":
        actions.promote(proposal=proposal, reason=reason, by=by)
    elif act == "revert":
        return actions.revert(key=proposal.key, to_digest=proposal.base, reason=reason, by=by)
    elif act == "acknowledge":
        actions.acknowledge(proposal=proposal, reason=reason, by=by)
    else:
        actions.withdraw(proposal=proposal, reason=reason, by=by)
    return proposal


def _check_diff_can_be_read(proposal: Proposal) -> None:
    """Raises NotAllowed when the evidence `diff` cannot be shown: nobody approves what nobody could read."""
    broken = _files(list(proposal.evidence.filter(name="diff")), "unified")[1]
    if broken:
        raise NotAllowed(f"{UNREADABLE} {broken}")


def _find(ref: str) -> Proposal:
    rows = Proposal.objects.select_related("task", "release__harness", "release__adapter", "version")
    return get_object_or_404(rows, ref=ref)


def _view(request: HttpRequest) -> View:
    return "split" if request.GET.get("view") == "split" else "unified"


def _page(
    request: HttpRequest, visitor: Visitor, proposal: Proposal, refusal: Refusal | None
) -> HttpResponse:
    evidence = list(proposal.evidence.order_by("name"))
    standing = rules.standing(proposal)
    reviews = list(proposal.reviews.select_related("person__user").order_by("created_at", "pk"))
    blind = rules.can_review(proposal, visitor.actor)[0]
    view = _view(request)
    files, broken_diff = _files(evidence, view)
    since = since_last(proposal, visitor.person, view) if blind else None
    names = names_by_ref({proposal.proposed_by, *proposal.excluded})
    comparison = next((item for item in evidence if item.name == "comparison"), None)
    context: dict[str, Any] = {
        "here": "inbox",
        "proposal": proposal,
        "lane": standing.lane,
        "needs": needs_of(proposal, standing, evidence, blind),
        "is_open": proposal.status in OPEN,
        "cards": cards(evidence),
        "delta": score_delta(read_json(comparison)) if comparison else None,
        "files": files,
        "viewed": viewed_files(files, visitor.person),
        "opened": opened_evidence(proposal, visitor.person),
        "moved": moved_of(proposal),
        "successor": successor(proposal) if proposal.status in LAPSED else None,
        "since": since,
        "former_reason": _former_reason(since),
        "broken_diff": broken_diff,
        "view": view,
        "reviews": [] if blind else reviews,
        "hidden_reviews": len(reviews) if blind else 0,
        "forms": _forms(proposal, visitor, bool(broken_diff)),
        "refusal": refusal,
        "proposer": names[proposal.proposed_by],
        "excluded": sorted(names[ref] for ref in proposal.excluded),
        "moves": PointerMove.objects.filter(proposal_ref=proposal.ref),
    }
    return render(request, "desk/proposal.html", context, status=refusal.status if refusal else 200)


def _former_reason(since: Since | None) -> str:
    """What this person wrote when they approved before; nothing after another verdict."""
    return since.review.reason if since and since.review.verdict == Review.Verdict.APPROVE else ""


def _files(evidence: list[Evidence], view: View) -> tuple[list[ShownFile], str]:
    """The files of the diff, and the sentence that says what is wrong with it, if anything."""
    diff = next((item for item in evidence if item.name == "diff"), None)
    if diff is None:
        return [], ""
    try:
        return shown_files(diff.data(), view), ""
    except BadInput as broken:
        return [], str(broken)


def _forms(proposal: Proposal, visitor: Visitor, broken_diff: bool) -> list[Form]:
    """The forms that make sense in the proposal's status, with every act's permission."""
    by = visitor.actor
    if proposal.review_due:
        allowed, why_not = rules.can_acknowledge(proposal, by)
        return [
            Form("Review afterwards", (Button("acknowledge", "Acknowledge", "", allowed, why_not),), True)
        ]
    forms: list[Form] = []
    if proposal.status in DECIDABLE:
        forms.append(_review_form(proposal, visitor, broken_diff))
        allowed, why_not = rules.can_promote(proposal, by)
        forms.append(Form("Make it live", (Button("promote", "Promote", "primary", allowed, why_not),), True))
    if proposal.status == Status.PROMOTED and proposal.kind != Proposal.Kind.REVERT and proposal.base:
        allowed, why_not = rules.can_revert(by)
        label = f"Revert to {proposal.base[:12]}"
        forms.append(Form("Take it back", (Button("revert", label, "danger", allowed, why_not),), True))
    if proposal.status in OPEN:
        allowed, why_not = rules.can_withdraw(proposal, by)
        if allowed:
            forms.append(Form("Withdraw", (Button("withdraw", "Withdraw", "", allowed, why_not),), False))
    return forms


def _review_form(proposal: Proposal, visitor: Visitor, broken_diff: bool) -> Form:
    allowed, why_not = rules.can_review(proposal, visitor.actor)
    unreadable = UNREADABLE if broken_diff and allowed else ""
    buttons = (
        Button("approve", "Approve", "primary", allowed and not broken_diff, why_not or unreadable),
        Button("request_changes", "Request changes", "", allowed, why_not),
        Button("reject", "Reject", "danger", allowed, why_not),
    )
    return Form("Your verdict", buttons, True)
