"""Read tokens: a consumer's (a SIEM's) right to read the log over HTTP, given and taken by people."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import TypeVar

from django.utils import timezone
from django.utils.text import slugify

from governance.actions.base import act
from governance.actions.events import note_event
from governance.actors import Actor
from governance.audit.log import Facts, record
from governance.digests import sha256_hex
from governance.errors import BadInput
from governance.models import AuditEntry, CampaignToken, ReadToken
from governance.policy import policy_facts
from governance.roles import AUDITOR, OWNER
from governance.rules import check_role

PREFIX = "pawl-read-"
TokenT = TypeVar("TokenT", ReadToken, CampaignToken)
NOTED_EVERY = timedelta(days=1)


@act("token.create", durable=True)
def create_token(*, name: str, by: Actor) -> str:
    """Give a consumer the right to read the log; the token is shown this once. An auditor or an owner may.

    Raises BadInput for a name that is taken or cannot be used.
    """
    check_role(by, {AUDITOR, OWNER})
    token, digest = draw(ReadToken, name, PREFIX)
    ReadToken.objects.create(name=name, sha256=digest, created_by=by.ref)
    record(by=by, action="token.create", subject=("token", name), facts=Facts(policy=policy_facts()))
    return token


@act("token.revoke", durable=True)
def revoke_token(*, name: str, by: Actor) -> None:
    """Take a token back. Raises BadInput when there is none in use by this name."""
    check_role(by, {AUDITOR, OWNER})
    if not ReadToken.objects.filter(name=name, revoked_at=None).update(revoked_at=timezone.now()):
        raise BadInput(f"No token {name!r} is in use.")
    record(by=by, action="token.revoke", subject=("token", name), facts=Facts(policy=policy_facts()))


def reader(token: str) -> Actor | None:
    """Who reads with this token; None for one that is unknown or revoked."""
    row = in_use(ReadToken, token)
    return Actor("system", f"token:{row.name}", "token") if row else None


def draw(kind: type[TokenT], name: str, prefix: str) -> tuple[str, str]:
    """A fresh token and the digest of it that is kept. Raises BadInput for a name that is taken or cannot be used."""
    if slugify(name) != name or not 1 <= len(name) <= 40:
        raise BadInput(
            f"{name!r} is no name for a token; use lower-case letters, digits and hyphens, at most 40."
        )
    if kind.objects.filter(name=name).exists():
        raise BadInput(f"There is a token {name!r} already, perhaps a revoked one; choose another name.")
    token = prefix + secrets.token_urlsafe(32)
    return token, sha256_hex(token.encode())


def in_use(kind: type[TokenT], token: str) -> TokenT | None:
    """The row of this token; None for one that is unknown or revoked."""
    return kind.objects.filter(sha256=sha256_hex(token.encode()), revoked_at=None).first()


def note_reading(by: Actor, now: datetime) -> None:
    """Record that a consumer reads the log: once a day, for an entry a page would be read as a new page for ever."""
    recent = AuditEntry.objects.filter(actor=by.ref, action="audit.read", time__gt=now - NOTED_EVERY)
    if not recent.exists():
        note_event(by=by, action="audit.read", subject=("log", "entries"))
