"""The one way in: name and password, then a second factor for whoever has one; one limit on failures for desk, admin,
step-up and commands.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, Final

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import authenticate
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.contrib.auth.hashers import make_password, verify_password
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils import timezone

from governance.actions import keep_account, note_event, use_code, use_passkey
from governance.actions.throttling import (
    ACCOUNT_LIMIT,
    ADDRESS_LIMIT,
    Limit,
    begin_attempt,
    forgive,
)
from governance.actors import Actor
from governance.against_log import check_account
from governance.audit.log import Facts
from governance.desk.questions import take_question
from governance.errors import NotAllowed
from governance.models import AuditEntry, Person
from governance.people import person_for_user

SIGN_IN = "person.sign_in"
MAX_NOTED = 30
NAME_MAX: Final = 150  # characters, as in Django's user table


class ThrottledBackend(ModelBackend):
    """Django's check of name and password, a few times in a quarter of an hour.

    Raises TooManyAttempts, before any password is looked at, and NotAllowed for an account that was changed behind the
    log. Whoever is signed in already counts apart (`step-up`), so
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
        found = self._found(username, password, "session" if request is not None else "command")
        if found is not None:
            forgive(made, limits[0].key)
        return found

    def _found(self, username: str, password: str, auth: str) -> User | None:
        """The account. Raises NotAllowed when it is a person's and not as the log recorded it."""
        user = User.objects.filter(username=username).first()
        if user is None:
            make_password(password)  # takes as long as a name that exists
            return None
        right, outdated = verify_password(password, user.password)
        if not (right and self.user_can_authenticate(user)):
            return None
        person = person_for_user(user)
        if person is None:
            return user
        try:
            check_account(person)
        except NotAllowed as refusal:
            note_failed_sign_in(username, auth, str(refusal))
            raise
        if outdated or not person.seal:
            keep_account(person=person, password=password if outdated else "", by=person.actor(auth))
            user.refresh_from_db()
        return user


def note_failed_sign_in(username: str, auth: str, reason: str) -> None:
    """Record that somebody could not sign in; what was typed as a name is kept only where it names a person.

    Beyond MAX_NOTED in a minute nothing more is recorded, so that guessing cannot fill the log.
    """
    since = timezone.now() - timedelta(minutes=1)
    noted = AuditEntry.objects.filter(action=SIGN_IN, outcome="denied", time__gt=since)
    if noted.count() >= MAX_NOTED:
        return
    person = Person.objects.filter(user__username=username).first()
    ref = person.ref if person else "unknown"
    facts = Facts(outcome="denied", reason=reason, detail={"auth": auth})
    note_event(by=Actor("human", ref), action=SIGN_IN, subject=("person", ref), facts=facts)


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
        """Raises ValidationError with a refusal's sentence: how long to wait, or what is wrong with the account."""
        try:
            return super().clean()
        except NotAllowed as refusal:
            raise forms.ValidationError(str(refusal), code="refused") from refusal


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
        except NotAllowed as refusal:
            raise forms.ValidationError(str(refusal), code="refused") from refusal
        if found is None:
            raise forms.ValidationError("The old password is not yours.", code="password_incorrect")
        return old
