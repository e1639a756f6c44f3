"""Background jobs: an id in, one act, the next job out. Safe to run twice; exceptions are let out for RQ to see."""

from __future__ import annotations

import time
import uuid
from datetime import datetime

import django_rq
import structlog
from django.utils import timezone

from governance import actions
from governance.assurance.verify import verify_is_due, verify_live
from governance.assurance.witnesses import witness_latest
from governance.audit import checkpoints
from loop import outages, rescoring_hidden, training_work, verification
from loop.advance import advance_once
from loop.leases import free_rows
from loop.live import follow_live
from loop.models import Campaign, EvaluatorCheck, TrainingJob, Verification
from loop.preflight_hidden import hidden_half

LOOP, VERIFY, TRAIN = "loop", "verify", "train"
UPKEEP_S = 60.0
_logger = structlog.get_logger(__name__)


def advance(ref: str) -> None:
    """Do the campaign's next act and queue what follows from it."""
    campaign = Campaign.objects.get(ref=ref)
    for queue, function, key in advance_once(campaign):
        put(queue, function, key)


def verify(pk: int) -> None:
    """Carry out one verification, then let its campaign go on."""
    if verification.verify(pk):
        put(LOOP, "advance", Verification.objects.get(pk=pk).query.campaign.ref)


def check_evaluator(pk: int) -> None:
    """Score the live release on the hidden data under a proposed evaluator."""
    rescoring_hidden.check(pk)


def train(pk: int) -> None:
    """Carry out one weight update, then let its campaign go on."""
    if training_work.train(pk):
        put(LOOP, "advance", TrainingJob.objects.get(pk=pk).generation.campaign.ref)


def preflight_hidden(pk: int) -> None:
    """The verifier's half of one preflight."""
    hidden_half(pk)


def put(queue: str, function: str, key: str | int) -> None:
    """Queue one job by name with an id, unless the same is already waiting."""
    prefix = f"{function}-{key}-"
    target = django_rq.get_queue(queue)
    if not any(job_id.startswith(prefix) for job_id in target.job_ids):
        target.enqueue(f"loop.jobs.{function}", key, job_id=f"{prefix}{uuid.uuid4().hex[:8]}")


def reconcile() -> int:
    """Queue whatever the database says is due and nobody works on; returns how many rows were looked at.

    After a lost queue or a killed worker this is all that is needed to go on.
    """
    acts = due()
    for queue, function, key in acts:
        put(queue, function, key)
    return len(acts)


class Housekeeping:
    """What a supervisor calls every few seconds: jobs and the live branches, and once a minute the clock's own acts."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self) -> None:
        reconcile()
        follow_live()
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + UPKEEP_S
            upkeep(timezone.now())


def upkeep(now: datetime) -> None:
    """What the clock does to the trusted core: proposals expire or go stale, what is new in the log is signed."""
    actions.expire_due(now=now)
    actions.refresh_stale()
    actions.revert_due(now=now)
    actions.promote_due()
    checkpoints.tick(now)
    put(LOOP, "witness_log", 0)
    if verify_is_due(now):
        put(LOOP, "verify_log", 0)


def witness_log(_: int) -> None:
    """Hand the newest checkpoint to the witnesses; a job, because they may be slow."""
    witness_latest()


def verify_log(_: int) -> None:
    """Once a day: hold the live tables against the log; what does not fit is an entry and an error in the logs."""
    if verify_is_due(timezone.now()) and (found := verify_live(timezone.now())):
        _logger.error("the live tables are not as the log says", differences=len(found), first=found[0])


def due() -> list[tuple[str, str, str | int]]:
    """(queue, function, key) of every act that the database says is to be done and that nobody works on."""
    open_job = ["queued", "running"]
    running = Campaign.Status.RUNNING
    return [
        *((LOOP, "advance", row.ref) for row in free_rows(Campaign).filter(status=running)),
        *((VERIFY, "verify", row.pk) for row in free_rows(Verification).filter(outages.due(timezone.now()))),
        *((VERIFY, "check_evaluator", row.pk) for row in free_rows(EvaluatorCheck).filter(done=False)),
        *((TRAIN, "train", row.pk) for row in free_rows(TrainingJob).filter(status__in=open_job)),
    ]
