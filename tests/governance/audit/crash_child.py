"""Promotes in forked children that kill themselves at their n-th statement: `prepare`, then `sweep`.

`sweep` prints how many children were killed, and how many of them left nothing and left everything.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django


def prepare() -> None:
    """An instance with an approved proposal."""
    from deploy.prepare import prepare as make_home
    from tests.governance.cast import approved, make_world

    make_home()
    approved(make_world())


def promote_and_die(statement: int) -> None:
    """In this process: promote, and end by SIGKILL right before the n-th statement (from 0), COMMIT included."""
    from django.db import connection

    from governance.actions import promote
    from governance.models import Person, Proposal
    from tests.governance.cast import REASON

    seen = 0

    def count(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        nonlocal seen
        if seen == statement:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1
        return execute(sql, *rest)

    wrapper: Any = connection
    commit = wrapper._commit

    def counted_commit() -> None:
        count(lambda sql: commit(), "COMMIT")

    wrapper._commit = counted_commit
    operator = Person.objects.get(user__username="operator").actor("session")
    proposal = Proposal.objects.get()
    with connection.execute_wrapper(count):
        promote(proposal=proposal, reason=REASON, by=operator)


def outcome() -> bool:
    """Whether the promotion happened. Raises AssertionError when half of it did."""
    from governance.assurance.verify import live_differences
    from governance.models import AuditEntry, Pointer, PointerMove, Proposal, Review

    happened = Pointer.objects.get(key="release:digits").generation == 1
    moves = AuditEntry.objects.filter(action="pointer.move", object_id="release:digits", outcome="allowed")
    told = (
        moves.count() == 2,
        PointerMove.objects.filter(key="release:digits").count() == 2,
        Proposal.objects.get().status == "promoted",
        Review.objects.filter(consumed_at__isnull=False).exists(),
    )
    assert set(told) == {happened}, f"half a promotion: {happened}, {told}"
    assert live_differences() == [], live_differences()
    return happened


def sweep() -> None:
    """One child a statement, on a fresh copy of the database each, until one finishes alive."""
    from django.conf import settings
    from django.db import connections

    home, kept = Path(settings.PAWL_HOME), Path(settings.PAWL_HOME).parent / "kept"
    connections.close_all()
    shutil.copytree(home, kept)
    tally = {True: 0, False: 0}
    for statement in range(1_000):
        for name in ("db.sqlite3", "db.sqlite3-wal", "db.sqlite3-shm", "keys"):
            _restore(kept / name, home / name)
        child = os.fork()
        if child == 0:
            promote_and_die(statement)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0 and outcome()
            break
        tally[outcome()] += 1
        connections.close_all()
    print(tally[True] + tally[False], tally[False], tally[True])


def _restore(kept: Path, place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    elif place.exists():
        place.unlink()
    if kept.is_dir():
        shutil.copytree(kept, place)
    elif kept.exists():
        shutil.copy(kept, place)


if __name__ == "__main__":
    django.setup()
    {"prepare": prepare, "sweep": sweep}[sys.argv[1]]()
