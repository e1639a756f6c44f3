"""From actors and accounts to people: one human being, whatever account they use."""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from governance.actors import Actor
from governance.errors import NotAllowed
from governance.models import Person
from governance.pointers import ROSTER_KEY, current


def person_of(by: Actor) -> Person:
    """The person behind a human actor. Raises NotAllowed for agents, systems and people who are not known here."""
    if by.kind != "human":
        raise NotAllowed(f"Only a person can do this; {by.kind} {by.ref!r} cannot.")
    people = Person.objects.select_related("user").prefetch_related("grants")
    person = people.filter(ref=by.ref).first()
    if person is None:
        raise NotAllowed(
            f"{by.ref!r} is not a person known here; an owner adds people with `manage.py people add`."
        )
    return person


def person_for_user(user: AbstractBaseUser | AnonymousUser) -> Person | None:
    """The person who owns this account, or None (an account alone, even a superuser's, has no say here)."""
    if not user.is_authenticated:
        return None
    return Person.objects.select_related("user").filter(user_id=user.pk).first()


def person_named(username: str) -> Person:
    """The person with this user name. Raises Person.DoesNotExist with a sentence."""
    person = Person.objects.select_related("user").filter(user__username=username).first()
    if person is None:
        raise Person.DoesNotExist(
            f"There is no person named {username!r}; `manage.py people list` shows who is known."
        )
    return person


def in_setup() -> bool:
    """Whether this instance is still being set up: until a second evaluator owner puts the first roster in force."""
    return current(ROSTER_KEY) is None
