"""Signing in at the command line: the same account and password as at the desk."""

from __future__ import annotations

import getpass
import os
import sys

from django.contrib.auth import authenticate

from governance.actors import Actor
from governance.errors import BadInput, NotAllowed
from governance.people import person_for_user


def sign_in(username: str | None) -> Actor:
    """The person who acts, after their password (asked for, or in PAWL_PASSWORD).

    Raises BadInput when nobody is named, NotAllowed for a wrong password or an account without a person.
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
        raise NotAllowed(f"The account {username!r} belongs to no person known here; it has no say.")
    return person.actor("command")


def ask_password(prompt: str, variable: str) -> str:
    """A password typed without echo. Raises BadInput where nobody can type (then the variable must hold it)."""
    if not sys.stdin.isatty():
        raise BadInput(f"There is no terminal to ask for a password at; set {variable}.")
    return getpass.getpass(prompt)
