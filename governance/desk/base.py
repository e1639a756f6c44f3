"""What every page of the desk shares: who is looking, with which roles, and how lists are paged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase

from governance.actors import Actor
from governance.models import Person
from governance.people import person_for_user
from governance.roles import ROLES, roles_of

P = ParamSpec("P")
Page = Callable[Concatenate[HttpRequest, "Visitor", P], HttpResponseBase]


@dataclass(frozen=True, slots=True)
class Visitor:
    """The person who looks at a page, with the roles they hold now."""

    person: Person
    roles: frozenset[str]

    @property
    def actor(self) -> Actor:
        """This person as the log names them: by session."""
        return self.person.actor("session")


def desk_page(view: Page[P]) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Only people with a role may look. Others get the login page, or 403 with the reason."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        return view(request, visitor_of(request), *args, **kwargs)

    return login_required(guarded)


def visitor_of(request: HttpRequest) -> Visitor:
    """The person behind this request. Raises PermissionDenied for an account without a person or a role."""
    person = person_for_user(request.user)
    if person is None:
        raise PermissionDenied(
            "This account belongs to no person known here; an evaluator owner adds people by `manage.py people add`."
        )
    roles = roles_of(person)
    if not roles:
        raise PermissionDenied("You hold no role yet; an evaluator owner can make you a viewer, or more.")
    request.desk_roles = roles  # type: ignore[attr-defined]  # for the navigation
    return Visitor(person, roles)


def need_role(visitor: Visitor, *wanted: str) -> None:
    """Raises PermissionDenied unless the visitor holds one of the roles."""
    if not visitor.roles.intersection(wanted):
        names = " or ".join(wanted)
        raise PermissionDenied(f"This needs the role {names}; yours: {', '.join(sorted_roles(visitor))}.")


def sorted_roles(visitor: Visitor) -> Sequence[str]:
    """The visitor's roles, from the least to the most powerful."""
    return [role for role in ROLES if role in visitor.roles]


def whole_number(text: str | None, default: int, *, low: int = 0, high: int = 2**53) -> int:
    """A number from a query string, brought into range; anything else is the default."""
    if text is None or not text.isascii() or not text.isdigit():
        return default
    return min(high, max(low, int(text)))


def names_by_ref(refs: Sequence[str] | set[str]) -> dict[str, str]:
    """User names for the refs of people, for display only; other actors keep their own name."""
    people = Person.objects.filter(ref__in=set(refs)).select_related("user")
    known: dict[str, Any] = {person.ref: person.user.get_username() for person in people}
    return {ref: known.get(ref, ref) for ref in refs}
