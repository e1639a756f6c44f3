"""The stop switch at the desk, and what is held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from governance import actions, rules
from governance.desk.acts import Refusal, check_step_up, posted_reason, refusal_of
from governance.desk.base import Visitor, desk_page, names_by_ref
from governance.errors import BadInput, GovernanceError
from governance.models import Halt, Hold, Task


@dataclass(frozen=True, slots=True)
class Switch:
    """One thing that can be stopped: everything (no slug) or a task, with the open stop if there is one."""

    scope: str
    halt: Halt | None
    stopped_by: str
    asked: tuple[str, ...]
    allowed: bool
    why_not: str

    @property
    def name(self) -> str:
        """What people call it."""
        return self.scope or "Everything"

    @property
    def act(self) -> str:
        """What its button does."""
        return "resume" if self.halt else "stop"


@require_safe
@desk_page
def stops_page(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Every switch, and every digest that is held."""
    return page_of(request, visitor, None)


@require_POST
@desk_page
def stops_act(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Stop or resume; a refusal shows the page again with the rule's sentence."""
    scope, act = request.POST.get("scope", ""), request.POST.get("act", "")
    try:
        if act not in {"stop", "resume"}:
            raise BadInput(f"The desk knows no act {act!r}; use the buttons of the page.")
        if scope and not Task.objects.filter(slug=scope).exists():
            raise BadInput(f"Task {scope!r} is not installed.")
        reason = posted_reason(request)
        check_step_up(request, visitor, ("halt", scope))
        carry_out = actions.stop if act == "stop" else actions.resume
        halt = carry_out(scope=scope, reason=reason, by=visitor.actor)
    except GovernanceError as error:
        return page_of(request, visitor, refusal_of(error, request))
    messages.success(request, _said(act, scope or "Everything", halt))
    return redirect("desk:stops")


def _said(act: str, name: str, halt: Halt) -> str:
    if act == "stop":
        return f"{name} is stopped; two people can resume it."
    return f"{name} goes on." if halt.resumed_at else "Noted; a second person must ask too."


def page_of(request: HttpRequest, visitor: Visitor, refusal: Refusal | None) -> HttpResponse:
    """The page, with what was refused, if anything."""
    halts = {halt.scope: halt for halt in Halt.objects.filter(resumed_at__isnull=True)}
    holds = list(Hold.objects.filter(lifted_at__isnull=True).order_by("-held_at"))
    names = names_by_ref(
        {ref for halt in halts.values() for ref in (halt.stopped_by, *halt.resumed_by)}
        | {ref for hold in holds for ref in (hold.held_by, *hold.lifted_by)}
    )
    scopes = ["", *Task.objects.order_by("slug").values_list("slug", flat=True)]
    context: dict[str, Any] = {
        "here": "stops",
        "switches": [_switch(scope, halts.get(scope), names, visitor) for scope in scopes],
        "holds": [_held(hold, names, visitor) for hold in holds],
        "digest": request.POST.get("digest"),
        "refusal": refusal,
        "scope": request.POST.get("scope"),
    }
    return render(request, "desk/stops.html", context, status=refusal.status if refusal else 200)


def _switch(scope: str, halt: Halt | None, names: dict[str, str], visitor: Visitor) -> Switch:
    by = visitor.actor
    if halt is None:
        allowed, why_not = rules.can(lambda: rules.check_may_stop(by))
        return Switch(scope, None, "", (), allowed, why_not)
    allowed, why_not = rules.can(lambda: rules.check_may_resume(halt, by))
    asked = tuple(names[ref] for ref in halt.resumed_by)
    return Switch(scope, halt, names[halt.stopped_by], asked, allowed, why_not)


def _held(hold: Hold, names: dict[str, str], visitor: Visitor) -> dict[str, Any]:
    allowed, why_not = rules.can(lambda: rules.check_may_lift(hold, visitor.actor))
    asked = [names[ref] for ref in hold.lifted_by]
    return {"hold": hold, "by": names[hold.held_by], "asked": asked, "allowed": allowed, "why_not": why_not}
