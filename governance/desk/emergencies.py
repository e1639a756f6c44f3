"""What operators do from the pages when something is wrong: hold a version, lift a hold, break the glass."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from governance import actions
from governance.desk import stops, versions
from governance.desk.acts import check_step_up, posted_reason, refusal_of
from governance.desk.base import Visitor, desk_page
from governance.errors import BadInput, GovernanceError
from governance.models import Release, Task
from governance.pointers import current_digest, release_key


@require_POST
@desk_page
def lift(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Ask to lift a hold; a refusal shows the page of stops again with the rule's sentence."""
    digest = request.POST.get("digest", "")[:64]
    try:
        reason = posted_reason(request)
        check_step_up(request, visitor, ("digest", digest))
        held = actions.lift_hold(digest=digest, reason=reason, by=visitor.actor)
    except GovernanceError as error:
        return stops.page_of(request, visitor, refusal_of(error, request))
    said = "The hold is lifted." if held.lifted_at else "Noted; a second person must ask too."
    messages.success(request, said)
    return redirect("desk:stops")


@require_POST
@desk_page
def hold(request: HttpRequest, visitor: Visitor, slug: str) -> HttpResponse:
    """Keep a release of a task, and everything made from it, from going live."""
    task = get_object_or_404(Task, slug=slug)
    try:
        reason = posted_reason(request)
        check_step_up(request, visitor, ("task", slug))
        release = _release(request, task)
        actions.hold(digest=release.digest, reason=reason, by=visitor.actor)
    except GovernanceError as error:
        return versions.page_of(request, visitor, task, refusal_of(error, request))
    messages.success(
        request, f"{release.digest[:12]} and what is made from it is held; two people can lift it."
    )
    return redirect("desk:task", slug)


@require_POST
@desk_page
def break_glass(request: HttpRequest, visitor: Visitor, slug: str) -> HttpResponse:
    """Propose an unverified release in an emergency; two other operators must approve it."""
    task = get_object_or_404(Task, slug=slug)
    try:
        reason = posted_reason(request)
        check_step_up(request, visitor, ("task", slug))
        if request.POST.get("live", "") != current_digest(release_key(task)):
            raise BadInput(
                "The live release moved since you opened this page; look again before you break the glass."
            )
        proposal = actions.break_glass(release=_release(request, task), reason=reason, by=visitor.actor)
    except GovernanceError as error:
        return versions.page_of(request, visitor, task, refusal_of(error, request))
    messages.success(request, "The glass is broken: two other operators must approve before it can go live.")
    return redirect("desk:proposal", proposal.ref)


def _release(request: HttpRequest, task: Task) -> Release:
    release = Release.objects.filter(task=task, digest=request.POST.get("digest", "")).first()
    if release is None:
        raise BadInput("Choose one of the task's releases.")
    return release
