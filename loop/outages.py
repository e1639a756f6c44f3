"""Hidden tests that an outage of the task model voided: put off with growing waits, given up in the end without a bit.

Nothing of a voided try is kept but what it cost: no score of it, and not which release the model failed under. The
next try runs everything again, on the same re-keyed items with the same seeds.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Q

from governance import actions
from governance.actors import VERIFIER
from governance.audit.log import Facts
from loop.leases import Lease
from loop.models import Verification

WAITS = tuple(timedelta(minutes=minutes) for minutes in (1, 4, 15, 60))
TRIES = len(WAITS) + 1
PUT_OFF, GIVEN_UP = "hidden.put_off", "hidden.given_up"
Status = Verification.Status


def due(now: datetime) -> Q:
    """The verifications that are to be carried out now."""
    return Q(status__in=[Status.QUEUED, Status.RUNNING]) | Q(status=Status.WAITING, retry_at__lte=now)


def words(row: Verification) -> str:
    """What a waiting verification waits for, and until when."""
    assert row.retry_at is not None
    return (
        f"The task model was out of reach in {row.outages} of {TRIES} tries, so the hidden test waits; the next try is "
        f"at {row.retry_at:%Y-%m-%d %H:%M:%S} UTC."
    )


def void_try(row: Verification, lease: Lease, now: datetime) -> bool:
    """Put the hidden test off, or end it after the last try; True when it ended. One transaction, one entry."""
    tries = row.outages + 1
    with lease.commit():
        if tries <= len(WAITS):
            _put_off(row, tries, now + WAITS[tries - 1])
        else:
            _give_up(row, tries)
    return tries > len(WAITS)


def _put_off(row: Verification, tries: int, until: datetime) -> None:
    Verification.objects.filter(pk=row.pk).update(status=Status.WAITING, outages=tries, retry_at=until)
    row.refresh_from_db()
    _note(row, PUT_OFF, words(row), until.isoformat(timespec="seconds"))


def _give_up(row: Verification, tries: int) -> None:
    reason = (
        f"The task model was out of reach in all {tries} tries of the hidden test. It gave no result and no bit, and "
        "its query is not counted as answered; start a campaign again when the model answers."
    )
    Verification.objects.filter(pk=row.pk).update(
        status=Status.OUTAGE, outages=tries, retry_at=None, reason=reason
    )
    row.refresh_from_db()
    _note(row, GIVEN_UP, reason)
    actions.finish_verification(
        proposal=row.query.proposal, passed=False, reason=reason, evidence=(), by=VERIFIER
    )


def _note(row: Verification, action: str, reason: str, until: str = "") -> None:
    query = row.query
    facts = Facts(
        outcome="failed",
        reason=reason,
        task=query.campaign.task.slug,
        subject_digest=query.release.digest,
        detail={
            "query": query.number,
            "campaign": query.campaign.ref,
            "tries": row.outages,
            **({"until": until} if until else {}),
        },
    )
    actions.note_event(by=VERIFIER, action=action, subject=("proposal", query.proposal.ref), facts=facts)
