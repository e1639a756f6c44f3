"""Signing in at the desk: name and password, then a second factor for whoever has one; and changing one's password."""

from __future__ import annotations

import time
from typing import Any, Final

from django.contrib import messages
from django.contrib.auth import get_user_model, login, update_session_auth_hash
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from governance.actions import change_password
from governance.desk.authentication import AdminSignInForm, PasswordForm, SignInForm, prove_factor
from governance.desk.base import Visitor, desk_page
from governance.errors import NotAllowed
from governance.factors import kinds_of
from governance.models import Person
from governance.people import person_for_user

HALF_WAY: Final = "half_way"  # the session's note of who gave their password and owes the second factor
HALF_WAY_S: Final = 300  # how long that counts


class SignIn(LoginView):
    """Name and password; whoever has a second factor is not signed in before they show it."""

    authentication_form = SignInForm

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """Sign in, or go on to the second factor."""
        user = form.get_user()
        person = person_for_user(user)
        if person is None or not kinds_of(person):
            return super().form_valid(form)
        self.request.session.flush()
        self.request.session[HALF_WAY] = {
            "user": user.pk,
            "password": user.get_session_auth_hash(),
            "at": time.time(),
            "next": self.get_success_url(),
        }
        return redirect("desk:login-factor")


sign_in = SignIn.as_view(redirect_authenticated_user=True)
sign_in_admin = SignIn.as_view(authentication_form=AdminSignInForm)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def factor_page(request: HttpRequest) -> HttpResponse:
    """The second step of signing in: a passkey, a code of the authenticator, or a recovery code."""
    found = half_way(request)
    if found is None:
        return redirect("desk:login")
    person, onward = found
    refusal = ""
    if request.method == "POST":
        try:
            prove_factor(request, person, request.POST.get("code", ""))
        except NotAllowed as error:
            refusal = str(error)
        else:
            login(request, person.user)
            del request.session[HALF_WAY]
            return redirect(onward)
    request.own_factors = kinds_of(person)  # type: ignore[attr-defined]  # for the form's fields
    return render(request, "desk/login_factor.html", {"refusal": refusal}, status=400 if refusal else 200)


def half_way(request: HttpRequest) -> tuple[Person, str] | None:
    """Who gave their password in this session a short while ago, and where they go; None when nobody did."""
    noted: dict[str, Any] | None = request.session.get(HALF_WAY)
    if noted is None or time.time() - noted["at"] > HALF_WAY_S:
        return None
    user: User | None = get_user_model().objects.filter(pk=noted["user"], is_active=True).first()
    person = person_for_user(user) if user else None
    if person is None or person.user.get_session_auth_hash() != noted["password"]:
        return None
    return person, noted["next"]


@require_http_methods(["GET", "HEAD", "POST"])
@desk_page
def password_page(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Change one's own password: every other session of the account ends, this one gets a new key."""
    form = PasswordForm(visitor.person.user, request.POST or None)
    form.request = request
    if request.method == "POST" and form.is_valid():
        new = form.cleaned_data["new_password1"]
        change_password(person=visitor.person, password=new, by=visitor.actor)
        update_session_auth_hash(request, visitor.person.user)
        messages.success(request, "Your password is changed; your other sessions have ended.")
        return redirect("desk:inbox")
    return render(request, "desk/password.html", {"form": form}, status=400 if form.errors else 200)
