"""The life of a proposal as a table: which status may follow which. Pure data."""

from __future__ import annotations

from django.db.models import TextChoices


class Status(TextChoices):
    """Where a proposal stands."""

    DRAFT = "draft"
    VERIFYING = "verifying"
    READY = "ready"
    IN_REVIEW = "in_review"
    APPROVED = "approved"
    PROMOTING = "promoting"
    PROMOTED = "promoted"
    SUPERSEDED = "superseded"
    REVERTED = "reverted"
    FAILED = "failed"
    CHANGES_REQUESTED = "changes_requested"
    REJECTED = "rejected"
    STALE = "stale"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    QUARANTINED = "quarantined"


S = Status
_ENDINGS = frozenset({S.STALE, S.EXPIRED, S.WITHDRAWN, S.QUARANTINED})

NEXT: dict[Status, frozenset[Status]] = {
    S.DRAFT: frozenset({S.VERIFYING}) | _ENDINGS,
    S.VERIFYING: frozenset({S.READY, S.FAILED}) | _ENDINGS,
    S.READY: frozenset({S.IN_REVIEW, S.APPROVED, S.CHANGES_REQUESTED, S.REJECTED}) | _ENDINGS,
    S.IN_REVIEW: frozenset({S.APPROVED, S.CHANGES_REQUESTED, S.REJECTED}) | _ENDINGS,
    S.APPROVED: frozenset({S.PROMOTING, S.CHANGES_REQUESTED, S.REJECTED}) | _ENDINGS,
    S.PROMOTING: frozenset({S.PROMOTED, S.QUARANTINED}),
    S.PROMOTED: frozenset({S.SUPERSEDED, S.REVERTED, S.QUARANTINED}),
    S.SUPERSEDED: frozenset({S.QUARANTINED}),
    S.REVERTED: frozenset({S.QUARANTINED}),
    S.FAILED: frozenset({S.QUARANTINED}),
    S.CHANGES_REQUESTED: frozenset({S.WITHDRAWN, S.QUARANTINED}),
    S.REJECTED: frozenset({S.QUARANTINED}),
    S.STALE: frozenset({S.QUARANTINED}),
    S.EXPIRED: frozenset({S.QUARANTINED}),
    S.WITHDRAWN: frozenset({S.QUARANTINED}),
    S.QUARANTINED: frozenset(),
}

OPEN = frozenset({S.DRAFT, S.VERIFYING, S.READY, S.IN_REVIEW, S.APPROVED})
DECIDABLE = frozenset({S.READY, S.IN_REVIEW, S.APPROVED})


def may_follow(old: Status, new: Status) -> bool:
    """Whether a proposal may move from `old` to `new`."""
    return new in NEXT[old]
