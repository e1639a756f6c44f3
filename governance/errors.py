"""Errors of the trusted core. Every message is one sentence a person can act on."""

from __future__ import annotations


class GovernanceError(Exception):
    """Base of every refusal and failure of the trusted core."""


class NotAllowed(GovernanceError):
    """A rule about people or states forbids the act; the message is the rule's own sentence."""


class Stale(GovernanceError):
    """What was read has moved since (lost race, changed subject); look again before acting."""


class SubjectMoved(Stale):
    """What a proposal was read with has moved: the proposal itself goes stale, with the cause in words."""

    def __init__(self, message: str, proposal_pk: int) -> None:
        super().__init__(message)
        self.proposal_pk = proposal_pk


class BadInput(GovernanceError):
    """The request is malformed: missing reason, unknown name, impossible value."""


class AuditError(GovernanceError):
    """The audit log could not be written, signed, exported or verified."""
