"""Who holds which role, and the form by which a change of roles is proposed."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from governance import actions, rules
from governance.actions.base import check_reason
from governance.actions.resetting import ASKED_COUNTS
from governance.desk.acts import Refusal, check_step_up, posted_reason, refusal_of
from governance.desk.base import Visitor, desk_page
from governance.errors import BadInput, GovernanceError
from governance.models import FactorReset, Person
from governance.policy import policy_now
from governance.roles import MEANING, OWNER, ROLES
from governance.roster import RoleChange
from governance.submitting import submit_roles


@require_safe
@desk_page
def people_page(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Everybody with their roles; whose roles are too young to decide."""
    return _page(request, visitor, None)


@require_POST
@desk_page
def propose_roles(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Propose to give or take one role: two evaluator owners decide, after the cooling-off time it is in force."""
    try:
        reason = check_reason(posted_reason(request), policy_now().min_reason)
        check_step_up(request, visitor, ("person", request.POST.get("person", "")[:64]))
        change = _change(request)
        proposal = submit_roles(changes=[change], summary=reason, by=visitor.actor)
    except GovernanceError as error:
        return _page(request, visitor, refusal_of(error, request))
    messages.success(request, "Proposed: two evaluator owners decide about it.")
    return redirect("desk:proposal", proposal.ref)


@require_POST
@desk_page
def reset_factors(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Ask to take somebody's lost second factors off; the second owner who asks does it."""
    name = request.POST.get("person", "")
    try:
        reason = posted_reason(request)
        check_step_up(request, visitor, ("person", name[:64]))
        person = Person.objects.filter(user__username=name).first()
        if person is None:
            raise BadInput("Choose a person.")
        asked = actions.reset_factors(person=person, reason=reason, by=visitor.actor)
    except GovernanceError as error:
        return _page(request, visitor, refusal_of(error, request))
    messages.success(
        request,
        f"The second factors of {person} are reset; their password alone signs them in now."
        if asked.done_at
        else "Noted; a second evaluator owner must ask within a day.",
    )
    return redirect("desk:people")


def _change(request: HttpRequest) -> RoleChange:
    person = Person.objects.filter(user__username=request.POST.get("person", "")).first()
    role = request.POST.get("role", "")
    if person is None or role not in ROLES:
        raise BadInput("Choose a person and one of the roles.")
    match request.POST.get("act"):
        case "grant":
            return RoleChange(person.ref, role, "grant")
        case "revoke":
            return RoleChange(person.ref, role, "revoke")
    raise BadInput("Choose whether the role is given or taken.")


def _page(request: HttpRequest, visitor: Visitor, refusal: Refusal | None) -> HttpResponse:
    people = Person.objects.select_related("user").prefetch_related("grants").order_by("user__username")
    after, now = policy_now().roles_count_after, timezone.now()
    rows = [_row(person, rules.counting_roles(person, now)) for person in people]
    allowed, why_not = rules.can(lambda: rules.check_may_propose_roles(visitor.actor))
    open_resets = FactorReset.objects.filter(done_at__isnull=True, asked_at__gt=now - ASKED_COUNTS)
    context: dict[str, Any] = {
        "here": "people",
        "resets": open_resets.select_related("person__user").order_by("asked_at"),
        "may_reset": OWNER in visitor.roles,
        "rows": rows,
        "roles": [(role, MEANING[role]) for role in ROLES],
        "after_hours": after.total_seconds() / 3600,
        "allowed": allowed,
        "why_not": why_not,
        "refusal": refusal,
        "asked": request.POST,
    }
    return render(request, "desk/people.html", context, status=refusal.status if refusal else 200)


def _row(person: Person, counting: frozenset[str]) -> dict[str, Any]:
    held = [
        (role, role in counting) for role in ROLES if role in {grant.role for grant in person.grants.all()}
    ]
    return {"person": person, "roles": held, "active": person.user.is_active}
