"""People with a second factor, for tests."""

from __future__ import annotations

from datetime import timedelta

import pyotp
from django.test import Client
from django.utils import timezone

from governance.actions import add_authenticator
from governance.factors import STEP_S, decrypted, new_secret
from governance.models import Authenticator, Person
from tests.governance.cast import PASSWORD


def give_authenticator(person: Person) -> list[str]:
    """An authenticator whose newest code is long ago; returns the recovery codes."""
    secret = new_secret()
    codes = add_authenticator(
        person=person, secret=secret, code=pyotp.TOTP(secret).now(), by=person.actor("session")
    )
    let_time_pass(person)
    return codes


def let_time_pass(person: Person) -> None:
    """As if no code had been used for long."""
    Authenticator.objects.filter(person=person).update(last_step=0)


def code_of(person: Person, steps: int = 0) -> str:
    """What the person's authenticator shows now, or some steps later."""
    secret = decrypted(Authenticator.objects.get(person=person).secret)
    return pyotp.TOTP(secret).at(timezone.now() + timedelta(seconds=STEP_S * steps))


def browser() -> Client:
    """Nobody yet, at the desk."""
    return Client(headers={"host": "localhost"})


def log_in(client: Client, name: str, password: str = PASSWORD, door: str = "/login/") -> tuple[int, str]:
    """Type name and password at a door: (status, page)."""
    answer = client.post(door, {"username": name, "password": password})
    return answer.status_code, answer.content.decode()
