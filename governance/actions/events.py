"""Entries about what other parts do: campaigns started and finished, evidence read, logs exported."""

from __future__ import annotations

from dataclasses import replace

from django.db import transaction

from governance.actors import Actor
from governance.audit.log import Facts, record
from governance.models import AuditEntry
from governance.policy import policy_facts

PLAIN = Facts()


def note_event(*, by: Actor, action: str, subject: tuple[str, str], facts: Facts = PLAIN) -> AuditEntry:
    """Record an act of another part; call it in the transaction of the act, so that both stand or fall together."""
    with transaction.atomic():
        return record(by=by, action=action, subject=subject, facts=replace(facts, policy=policy_facts()))
