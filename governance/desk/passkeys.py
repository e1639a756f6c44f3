"""Passkeys at the desk: add one, remove one, and the question that a page's script has a passkey answer."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from governance import actions
from governance.desk.account import half_way
from governance.desk.acts import Refusal, refusal_of
from governance.desk.base import Visitor, desk_page
from governance.desk.factors import done, page_of, step_up
from governance.desk.questions import ask, take_question
from governance.errors import GovernanceError
from governance.people import person_for_user
from governance.webauthn_answers import creation_options, request_options


@never_cache
@require_POST
def question(request: HttpRequest) -> HttpResponse:
    """A question for a passkey of whoever is signed in, or gave their password and owes the second factor."""
    person = person_for_user(request.user)
    if person is None and (found := half_way(request)):
        person = found[0]
    if person is None:
        return HttpResponse("Log in first.", status=403, content_type="text/plain")
    try:
        asked = ask(request)
    except GovernanceError as error:
        return HttpResponse(str(error), status=400, content_type="text/plain")
    return HttpResponse(request_options(asked, person), content_type="application/json")


@never_cache
@require_POST
@desk_page
def new_passkey(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """The page on which the browser makes a passkey."""
    try:
        step_up(request, visitor)
        return _form(request, visitor, None)
    except GovernanceError as error:
        return page_of(request, visitor, refusal_of(error, request))


@never_cache
@require_POST
@desk_page
def confirm_passkey(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """The browser's answer: from now on the passkey is accepted."""
    try:
        codes = actions.add_passkey(
            person=visitor.person,
            name=request.POST.get("name", ""),
            answer=request.POST.get("passkey", ""),
            question=take_question(request),
            by=visitor.actor,
        )
    except GovernanceError as error:
        return _form(request, visitor, refusal_of(error, request))
    return done(request, "Your passkey is added; sign-in and step-up accept it now.", codes)


@require_POST
@desk_page
def remove_passkey(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Accept a passkey no more."""
    credential = request.POST.get("credential", "")
    try:
        step_up(request, visitor)
        actions.remove_passkey(person=visitor.person, credential=credential, by=visitor.actor)
    except GovernanceError as error:
        return page_of(request, visitor, refusal_of(error, request))
    return done(request, "Your passkey is removed.", [])


def _form(request: HttpRequest, visitor: Visitor, refusal: Refusal | None) -> HttpResponse:
    context: dict[str, Any] = {
        "here": "account",
        "options": creation_options(ask(request), visitor.person),
        "refusal": refusal,
    }
    return render(request, "desk/passkey.html", context, status=refusal.status if refusal else 200)
