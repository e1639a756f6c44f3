"""Signing in at the command line: the same account and password as at the desk."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping
from typing import Any

from django.contrib.auth import authenticate

from governance.actors import Actor
from governance.desk.authentication import note_failed_sign_in, prove_factor
from governance.errors import BadInput, NotAllowed
from governance.factors import kinds_of
from governance.people import person_for_user


def sign_in(username: str | None) -> Actor:
    """The person who acts, after their password (asked for, or in PAWL_PASSWORD) and a second factor if they have one.

    The code is asked for, or in PAWL_CODE; a person who has passkeys alone shows a recovery code. Raises BadInput when
    nobody is named, NotAllowed for a wrong password or code, or an account without a person.
    """
    if not username:
        raise BadInput("Say who acts: --as NAME.")
    password = os.environ.get("PAWL_PASSWORD") or ask_password(f"Password of {username}: ", "PAWL_PASSWORD")
    user = authenticate(username=username, password=password)
    if user is None:
        raise NotAllowed(
            f"Name and password of {username!r} do not fit together, or the account is not active."
        )
    person = person_for_user(user)
    if person is None:
        note_failed_sign_in(username, "command", "The account belongs to no person.")
        raise NotAllowed(f"The account {username!r} belongs to no person known here; it has no say.")
    if kinds_of(person):
        code = os.environ.get("PAWL_CODE") or ask_password(f"Code of {username}: ", "PAWL_CODE")
        prove_factor(None, person, code)
    return person.actor("command")


def ask_password(prompt: str, variable: str) -> str:
    """A password or code typed without echo. Raises BadInput where nobody can type (then the variable must hold it)."""
    if not sys.stdin.isatty():
        raise BadInput(f"There is no terminal to ask for it at; set {variable}.")
    return getpass.getpass(prompt)


def on_login_failed(sender: Any, credentials: Mapping[str, Any], request: Any = None, **_: Any) -> None:
    """Django's signal: a name and a password that do not fit, at the desk or at a command."""
    auth = "session" if request is not None else "command"
    note_failed_sign_in(str(credentials.get("username", "")), auth, "Name and password do not fit together.")
