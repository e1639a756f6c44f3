"""Giving serving leases: 30 seconds on what is live, and none while a stop covers the task.

It needs the database and the log's signer; the queue and the workers may be down. A lease is no entry, for one is
given every few seconds; a stop is an entry, and so is the first refusal for each reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from governance.actors import Actor
from governance.assurance.bundle_parts import parse_proof
from governance.assurance.receipt import ReceiptInvalid, check_receipt
from governance.assurance.receipts import make_receipt
from governance.audit.checkpoints import get_signer
from governance.audit.lease import LEASE, LoggedMove
from governance.audit.log import Facts, record
from governance.audit.notes import VerifierKey
from governance.models import AuditEntry, Release, Task
from governance.pointers import current, live_release, release_key
from governance.policy import policy_facts
from governance.rules import check_not_stopped
from governance.subjects import release_digest

LEASES = Actor("system", "leases")
REFUSED = "lease.refused"


@dataclass(frozen=True, slots=True)
class Grant:
    """What is live, the receipt of the move that made it so, and the lease on it (a signed note)."""

    release: Release
    receipt: dict[str, Any]
    lease: str


def grant_lease(task: Task, nonce: str, now: datetime, span: timedelta = LEASE) -> Grant:
    """The lease on what is live for a task, until `now + span`; `nonce` is 32 hexadecimal digits of whoever asks.

    Take `now` before calling: a lease then ends at most `span` after a stop that it did not see. What is held but live
    is live by the rules until it is reverted. Raises NotAllowed while the task is stopped, BadInput where nothing is
    live, ReceiptInvalid where log and database differ, AuditError without a signer.
    """
    check_not_stopped(task.slug)
    release, signer = live_release(task), get_signer()
    receipt = make_receipt(release_key(task))
    try:
        _check_shown(release, receipt, signer.key())
    except ReceiptInvalid as refusal:
        _note_refusal(task, release, str(refusal))
        raise
    proof = parse_proof(receipt["proof"].encode(), "the proof")
    move = LoggedMove(receipt["entry"].encode(), proof.index, tuple(proof.hashes), proof.checkpoint)
    return Grant(release, receipt, signer.sign_lease(move, nonce, now + span).decode())


def _check_shown(release: Release, receipt: dict[str, Any], key: VerifierKey) -> None:
    """Raises ReceiptInvalid unless the signed log's last move made live exactly what the database says is live."""
    pointer = current(release_key(release.task))
    assert pointer is not None
    moved = check_receipt(receipt, [key], pointer.key, release.digest)
    if moved.generation != pointer.generation:
        raise ReceiptInvalid(
            f"The pointer is at generation {pointer.generation}, the log's last move at {moved.generation}."
        )
    if release_digest(release) != release.digest:
        raise ReceiptInvalid(f"The parts of release {release.digest[:12]} do not give its digest.")


def _note_refusal(task: Task, release: Release, why: str) -> None:
    """Record the refusal, once for each reason."""
    last = AuditEntry.objects.filter(action=REFUSED, object_id=release_key(task)).order_by("-seq").first()
    if last is not None and last.entry()["reason"] == why:
        return
    facts = Facts(outcome="denied", after=release.digest, reason=why, policy=policy_facts(), task=task.slug)
    with transaction.atomic():
        record(by=LEASES, action=REFUSED, subject=("pointer", release_key(task)), facts=facts)
