"""Who works on a row: a lease that a live worker renews, and a fence that a dead one can never pass.

A worker that is killed stops renewing; once the lease has run out, or at once on the same host where its process is
seen to be gone, another takes the row with a higher fence. Whatever the first one (or an
orphan of it) computed is refused when it tries to commit with the old fence.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog
from django.db import DatabaseError, connection, models, transaction
from django.db.models import F, Q
from django.utils import timezone

from governance.rules import halt_over
from loop.errors import Fenced
from loop.processes import is_dead, this_process

LEASE = timedelta(seconds=12)
RENEW_S = 2.0

log = structlog.get_logger(__name__)


@dataclass
class Lease:
    """The right to commit work on one row. `lost` is set as soon as another worker is known to hold it."""

    model: type[models.Model]
    pk: int
    fence: int
    task: str
    lost: threading.Event = field(default_factory=threading.Event)

    def _mine(self) -> models.QuerySet[Any]:
        return self.model._default_manager.filter(pk=self.pk, fence=self.fence)

    @contextmanager
    def commit(self) -> Iterator[None]:
        """One transaction that holds the row; raises Fenced when another worker has taken it over."""
        with transaction.atomic():
            if not self._mine().select_for_update().exists():
                self.lost.set()
                raise Fenced(
                    f"{self.model.__name__} {self.pk} was taken over by another worker; this result is discarded."
                )
            if halt_over(self.task) is not None:
                self.lost.set()
                raise Fenced(f"{self.task} was stopped by a person; this result is discarded.")
            yield

    def renew(self) -> bool:
        """Push the end of the lease forward; False when the row is no longer ours or its task was stopped."""
        mine = self._mine().update(lease_until=timezone.now() + LEASE) == 1
        return mine and halt_over(self.task) is None

    def release(self) -> None:
        """Give the row back, so that the next worker need not wait for the lease to run out."""
        self._mine().update(lease_until=None, holder="")


def free_rows(model: type[models.Model]) -> models.QuerySet[Any]:
    """The rows that nobody holds: no lease, a lease that ran out, or a holder on this host that is dead."""
    now = timezone.now()
    held_rows = model._default_manager.filter(lease_until__gte=now).values_list("pk", "holder")
    orphaned = [pk for pk, holder in held_rows if _is_dead(holder)]
    return model._default_manager.filter(
        Q(lease_until__isnull=True) | Q(lease_until__lt=now) | Q(pk__in=orphaned)
    )


def take(model: type[models.Model], pk: int) -> Lease | None:
    """Take the row if nobody holds a running lease on it and its task is not stopped; None otherwise."""
    with transaction.atomic():
        row = free_rows(model).filter(pk=pk).first()
        if row is None or halt_over(row.task_slug) is not None:
            return None
        taken = model._default_manager.filter(pk=pk, fence=row.fence).update(
            fence=F("fence") + 1, lease_until=timezone.now() + LEASE, holder=_me()
        )
    return Lease(model, pk, row.fence + 1, row.task_slug) if taken == 1 else None


def _me() -> str:
    return " ".join(map(str, this_process()))


def _is_dead(holder: str) -> bool:
    """Whether the holder ran on this host and its process is gone. Elsewhere only the lease can tell."""
    host, pid, start = holder.split(" ")
    return is_dead(host, int(pid), start)


@contextmanager
def held(model: type[models.Model], pk: int) -> Iterator[Lease | None]:
    """Hold the row for the length of the block, renewing in the background; None when it is busy elsewhere."""
    lease = take(model, pk)
    if lease is None:
        yield None
        return
    try:
        with every(RENEW_S, lambda: _renew(lease)):
            yield lease
    finally:
        lease.release()  # after the last renewal, which would hold the row for nobody


def _renew(lease: Lease) -> None:
    if not lease.renew():
        lease.lost.set()


@contextmanager
def every(seconds: float, act: Callable[[], None]) -> Iterator[None]:
    """While the block runs, call `act` every so often in a thread of its own, with its own database connection."""
    stop = threading.Event()

    def run() -> None:
        try:
            while not stop.wait(seconds):
                try:
                    act()
                except DatabaseError as error:
                    log.warning("lease.heartbeat_failed", error=str(error))
        finally:
            connection.close()

    thread = threading.Thread(target=run, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
