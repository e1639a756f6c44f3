"""The one way in: name and password, then a second factor for whoever has one; one limit on failures for desk, admin,
step-up and commands.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import authenticate
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.contrib.auth.models import User
from django.http import HttpRequest

from governance.actions import use_code, use_passkey
from governance.actions.throttling import (
    ACCOUNT_LIMIT,
    ADDRESS_LIMIT,
    Limit,
    TooManyAttempts,
    begin_attempt,
    forgive,
)
from governance.desk.questions import take_question
from governance.models import Person

NAME_MAX: Final = 150  # characters, as in Django's user table


class ThrottledBackend(ModelBackend):
    """Django's check of name and password, a few times in a quarter of an hour.

    Raises TooManyAttempts, before any password is looked at. Whoever is signed in already counts apart (`step-up`), so
    that failures at the sign-in page cannot keep a signed-in operator from stopping something.
    """

    def authenticate(  # type: ignore[override]  # names and passwords come by keyword only
        self, request: HttpRequest | None, **credentials: Any
    ) -> User | None:
        """The account with this name and password, or None."""
        username, password = credentials.get("username"), credentials.get("password")
        if not username or password is None:
            return None
        limits = _limits(request, username)
        made = begin_attempt(limits)
        found = super().authenticate(request, **credentials)
        if found is not None:
            forgive(made, limits[0].key)
        return found


def prove_factor(request: HttpRequest | None, person: Person, code: str) -> None:
    """Have a person who has a second factor show it: the passkey's answer that was posted, else this code.

    Failures count apart from those of the password. Raises NotAllowed when it does not hold (which the log has then),
    TooManyAttempts after too many of them.
    """
    limits = _limits(request, person.user.get_username(), "factor")
    made = begin_attempt(limits)
    if request is not None and (answer := request.POST.get("passkey", "")):
        question = take_question(request)
        use_passkey(person=person, answer=answer, question=question, by=person.actor("session"))
    else:
        use_code(person=person, code=code, by=person.actor("command" if request is None else "session"))
    forgive(made, limits[0].key)


def _limits(request: HttpRequest | None, username: str, proof: str = "") -> list[Limit]:
    """The account first, then the address where there is one; `proof` names what else than the password is counted."""
    name = username.lower()[:NAME_MAX]
    signed_in = getattr(request, "user", None)
    known = signed_in is not None and signed_in.is_authenticated and signed_in.get_username() == username
    kind = "-".join(filter(None, [proof, "step-up" if known else "account"]))
    limits = [Limit(f"{kind}:{name}", ACCOUNT_LIMIT)]
    address = request.META.get("REMOTE_ADDR", "") if request is not None else ""
    return [*limits, Limit(f"address:{address[:45]}", ADDRESS_LIMIT)] if address else limits


class SignInForm(AuthenticationForm):
    """Name and password, with the sentence of a refusal."""

    error_messages: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        **AuthenticationForm.error_messages,
        "invalid_login": "The user name and password do not match an active account; try again.",
    }

    def clean(self) -> dict[str, Any]:
        """Raises ValidationError with the wait where there were too many failures."""
        try:
            return super().clean()
        except TooManyAttempts as refusal:
            raise forms.ValidationError(str(refusal), code="throttled") from refusal


class AdminSignInForm(SignInForm, AdminAuthenticationForm):
    """The same at the door of the reading room."""


class PasswordForm(PasswordChangeForm):
    """Another password for oneself; the old one is checked under the same limit."""

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        self.request: HttpRequest | None = None

    def clean_old_password(self) -> str:
        """The old password. Raises ValidationError where it is wrong or was wrong too often."""
        old = str(self.cleaned_data["old_password"])
        try:
            found = authenticate(self.request, username=self.user.get_username(), password=old)
        except TooManyAttempts as refusal:
            raise forms.ValidationError(str(refusal), code="throttled") from refusal
        if found is None:
            raise forms.ValidationError("The old password is not yours.", code="password_incorrect")
        return old
