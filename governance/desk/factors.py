"""The page of one's own account: second factors are added, renewed and removed here."""

from __future__ import annotations

from typing import Any, Final

import segno
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from governance import actions
from governance.desk.acts import Refusal, check_step_up, refusal_of
from governance.desk.base import Visitor, desk_page
from governance.errors import BadInput, GovernanceError
from governance.factors import address_of, decrypted, encrypted, kinds_of, new_secret
from governance.models import Authenticator

NEW_SECRET: Final = (
    "new_authenticator"  # the session's note of a secret that waits for its first code, encrypted
)


@require_safe
@desk_page
def account_page(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """What this person proves themselves with."""
    return page_of(request, visitor, None)


@never_cache
@require_POST
@desk_page
def new_authenticator(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Make a secret and show it, this once; it counts when the person shows a code of it."""
    try:
        step_up(request, visitor)
    except GovernanceError as error:
        return page_of(request, visitor, refusal_of(error, request))
    secret = new_secret()
    request.session[NEW_SECRET] = encrypted(secret)
    address = address_of(secret, visitor.person.user.get_username())
    context = {"here": "account", "secret": secret, "picture": _picture(address)}
    return render(request, "desk/authenticator.html", context)


@never_cache
@require_POST
@desk_page
def confirm_authenticator(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """The first code of the new secret: from now on codes are asked for."""
    kept = request.session.get(NEW_SECRET)
    try:
        if kept is None:
            raise BadInput("There is no new authenticator to confirm; begin again.")
        codes = actions.add_authenticator(
            person=visitor.person,
            secret=decrypted(kept),
            code=request.POST.get("code", ""),
            by=visitor.actor,
        )
    except GovernanceError as error:
        refusal = refusal_of(error, request)
        context = {"here": "account", "refusal": refusal}
        return render(request, "desk/authenticator.html", context, status=refusal.status)
    del request.session[NEW_SECRET]
    return done(request, "Your authenticator is added; sign-in and step-up ask for its codes now.", codes)


@require_POST
@desk_page
def remove_authenticator(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Ask for codes no more; it takes one last code, or a recovery code."""
    try:
        step_up(request, visitor)
        actions.remove_authenticator(person=visitor.person, by=visitor.actor)
    except GovernanceError as error:
        return page_of(request, visitor, refusal_of(error, request))
    return done(request, "Your authenticator is removed.", [])


@never_cache
@require_POST
@desk_page
def renew_codes(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Fresh recovery codes, shown this once."""
    try:
        step_up(request, visitor)
        codes = actions.renew_recovery_codes(person=visitor.person, by=visitor.actor)
    except GovernanceError as error:
        return page_of(request, visitor, refusal_of(error, request))
    return done(request, "Your former recovery codes are void.", codes)


def step_up(request: HttpRequest, visitor: Visitor) -> None:
    """Have the visitor prove again who they are. Raises NotAllowed, and records it, when they cannot."""
    check_step_up(request, visitor, ("person", visitor.person.ref))


def done(request: HttpRequest, said: str, codes: list[str]) -> HttpResponse:
    """Back to the account, or first to the recovery codes where new ones were made."""
    messages.success(request, said)
    if codes:
        return render(request, "desk/recovery_codes.html", {"here": "account", "codes": codes})
    return redirect("desk:account")


def page_of(request: HttpRequest, visitor: Visitor, refusal: Refusal | None) -> HttpResponse:
    """The page of the account, with what was refused, if anything."""
    person = visitor.person
    context: dict[str, Any] = {
        "here": "account",
        "person": person,
        "roles": sorted(visitor.roles),
        "kinds": kinds_of(person),
        "authenticator": Authenticator.objects.filter(person=person).first(),
        "passkeys": list(person.passkeys.order_by("added_at")),
        "codes_left": person.recovery_codes.filter(used_at__isnull=True).count(),
        "refusal": refusal,
    }
    return render(request, "desk/account.html", context, status=refusal.status if refusal else 200)


def _picture(address: str) -> SafeString:
    """The address as a QR code: an SVG of attributes alone, which the content policy lets through."""
    drawn = segno.make(address, error="m").svg_inline(
        scale=4, light="#fff", omitsize=True, svgclass="qr", lineclass=None
    )
    return mark_safe(drawn)
