"""An instance that has been busy for years: proposals and entries by the hundred thousand, written in bulk."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.utils import timezone

from governance.audit.tree import leaf_hash
from governance.models import AuditEntry, AuditHead, Evidence, Proposal
from tests.governance.cast import World

BATCH = 10_000
DECIDED = ("superseded", "rejected", "stale", "expired", "failed", "withdrawn")
OPEN_EVERY = 100  # one of so many waits for people
BODY = b'{"v":1,"detail":{}}'


def nobody(done: int) -> None:
    """Who is told how many there are, unless somebody else is."""


def add_proposals(world: World, count: int, told: Callable[[int], None] = nobody) -> None:
    """Add this many proposals, most of them decided, each with its comparison as evidence."""
    now = timezone.now()
    for start in range(0, count, BATCH):
        numbers = range(start, min(start + BATCH, count))
        Proposal._base_manager.bulk_create(_proposal(world, number, now) for number in numbers)
        made = Proposal.objects.filter(ref__startswith="crowd-").order_by("-pk")[: len(numbers)]
        Evidence._base_manager.bulk_create(
            Evidence(
                proposal_id=pk,
                name="comparison",
                media_type="application/json",
                sha256="0" * 64,
                size=2,
                body=b"{}",
            )
            for pk in made.values_list("pk", flat=True)
        )
        told(numbers.stop)


def _proposal(world: World, number: int, now: datetime) -> Proposal:
    waits = number % OPEN_EVERY == 0
    return Proposal(
        ref=f"crowd-{number}",
        kind="promote",
        status="ready" if waits else DECIDED[number % len(DECIDED)],
        lane="harness",
        title=f"Proposal {number}",
        task=world.task,
        release=world.seed,
        key="release:elsewhere",
        target=world.seed.digest,
        base="0" * 64,
        subject={"kind": "promote"},
        subject_digest="1" * 64,
        proposed_by="loop",
        created_at=now - timedelta(minutes=number),
        changed_at=now - timedelta(minutes=number),
        expires_at=now + timedelta(days=9),
    )


def add_entries(count: int, told: Callable[[int], None] = nobody) -> None:
    """Add this many entries to the log; they say nothing, but each has its leaf."""
    first, now = AuditHead.objects.get(pk=1).size, timezone.now()
    body, leaf = BODY.decode(), leaf_hash(BODY).hex()
    for start in range(first, first + count, BATCH):
        AuditEntry.objects.bulk_create(
            AuditEntry(
                seq=seq,
                body=body,
                leaf=leaf,
                time=now,
                action="evidence.read",
                outcome="allowed",
                actor=f"p-{seq % 50}",
                object_type="proposal",
                object_id=f"crowd-{seq % 100_000}",
                task="digits",
            )
            for seq in range(start, min(start + BATCH, first + count))
        )
        told(min(start + BATCH, first + count) - first)
    AuditHead.objects.filter(pk=1).update(size=first + count)
