"""The challenge that a browser's passkey answers: kept in the session, for a few minutes and for one answer."""

from __future__ import annotations

import time
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest
from django.http.request import split_domain_port

from governance.errors import BadInput, NotAllowed
from governance.passkeys import Question, Site, new_question

ASKED: Final = "passkey_question"
ASKED_S: Final = 300


def site_of(request: HttpRequest) -> Site:
    """Where this browser is, by the host names that the settings list.

    Raises BadInput for a host that is let in by a wildcard only: then anybody's page could be taken for this one.
    """
    host, _ = split_domain_port(request.get_host())
    if host not in settings.ALLOWED_HOSTS:
        raise BadInput(f"Passkeys need the service's own name: put {host} in ALLOWED_HOSTS.")
    return Site(host, f"{request.scheme}://{request.get_host()}")


def ask(request: HttpRequest) -> Question:
    """A fresh question, which replaces the one before."""
    question = new_question(site_of(request))
    request.session[ASKED] = {"challenge": question.challenge.hex(), "at": time.time()}
    return question


def take_question(request: HttpRequest) -> Question:
    """The question that this session was asked last; then it is gone. Raises NotAllowed when there is no fresh one."""
    noted: dict[str, Any] | None = request.session.pop(ASKED, None)
    if noted is None or time.time() - noted["at"] > ASKED_S:
        raise NotAllowed("The passkey was asked too long ago, or answered already; use it again.")
    return Question(bytes.fromhex(noted["challenge"]), site_of(request))
