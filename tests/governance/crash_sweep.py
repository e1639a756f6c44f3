"""Acts killed before each of their statements: `python -m tests.governance.crash_sweep` in a data home of its own.

For each act one line of JSON: {"act": name, "killed": [[point, where]], "wrong": [sentence]}.
A killed act must have left everything as before it, or everything as an undisturbed one leaves it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from tests.loop.fuse import Fuse

READS = frozenset({"SELECT", "PRAGMA", "BEGIN", "EXPLAIN"})
KEPT = ("db.sqlite3", "db.sqlite3-wal", "db.sqlite3-shm", "keys")
LIVE = {"settings.toml": ("file", b"votes = 3\n"), "main.py": ("file", b"print(1)\n")}


class StatementFuse(Fuse):
    """Burns at the n-th statement that writes, commits or sets a savepoint, and at renames."""

    def light(self) -> None:
        """Watch this process from now on. Open no database connection before."""
        connection_created.connect(self._traced, weak=False)
        sys.addaudithook(self._audit)

    def _traced(self, connection: BaseDatabaseWrapper, **_: Any) -> None:
        def trace(statement: str) -> None:
            words = statement.split()
            if words and words[0] not in READS:
                self.point(" ".join(words[:3])[:60])

        connection.connection.set_trace_callback(trace)


def prepare() -> None:
    """An instance in which each of the acts can be done at once."""
    from deploy.prepare import prepare as make_home
    from governance.models import Person
    from governance.roles import OPERATOR, REVIEWER
    from governance.roster import RoleChange
    from governance.submitting import submit_roles
    from tests.governance.cast import BOLDER, approved, make_world, promoted, say

    make_home()
    world = make_world({"otto": (OPERATOR,), "rita": (OPERATOR,)})
    promoted(world)
    approved(world, BOLDER, old=LIVE)
    outsider = Person.objects.get(user__username="outsider")
    change = RoleChange(outsider.ref, REVIEWER, "grant")
    roles = submit_roles(changes=[change], summary="Asked.", by=world.cast.act("operator"))
    for owner in ("olga", "otto"):
        say(world, owner, roles)


def acts() -> dict[str, Callable[[], object]]:
    """The acts by name."""
    from governance import actions
    from governance.models import Person, PointerMove, Proposal, Release
    from tests.governance.cast import REASON
    from tests.governance.test_emergencies import WHY

    by = Person.objects.get(user__username="operator").actor("session")
    first = PointerMove.objects.get(key="release:digits", generation=0).digest
    release, roles = (Proposal.objects.get(status="approved", kind=kind) for kind in ("promote", "roles"))
    return {
        "promote": lambda: actions.promote(proposal=release, reason=REASON, by=by),
        "roster": lambda: actions.promote(proposal=roles, reason=REASON, by=by),
        "revert": lambda: actions.revert(key="release:digits", to_digest=first, reason=REASON, by=by),
        "stop": lambda: actions.stop(scope="", reason=REASON, by=by),
        "hold": lambda: actions.hold(digest=release.target, reason=REASON, by=by),
        "break_glass": lambda: actions.break_glass(
            release=Release.objects.get(digest=first), reason=WHY, by=by
        ),
    }


def tables() -> dict[str, Any]:
    """Everything that the acts change, without moments and random names."""
    from governance.models import (
        AuditEntry,
        Evidence,
        Halt,
        Hold,
        Pointer,
        PointerMove,
        Proposal,
        Review,
        RoleGrant,
    )

    wanted: dict[Any, tuple[str, ...]] = {
        Pointer: ("key", "digest", "generation"),
        PointerMove: ("key", "digest", "generation", "kind"),
        Proposal: ("kind", "target", "base", "status", "status_reason", "review_due"),
        Evidence: ("name", "sha256"),
        Review: ("person__ref", "verdict", "subject_digest"),
        Hold: ("digest", "reason", "automatic"),
        Halt: ("scope", "reason"),
        RoleGrant: ("person__ref", "role", "granted_by"),
        AuditEntry: ("seq", "action", "outcome", "actor", "object_type"),
    }
    rows = {
        model.__name__: sorted(map(list, model.objects.values_list(*fields)), key=str)
        for model, fields in wanted.items()
    }
    used = Review.objects.filter(consumed_at__isnull=False).count()
    return dict(json.loads(json.dumps({**rows, "used": used})))


def in_child(name: str, fatal: int) -> tuple[bool, str]:
    """Do one act in a child that dies at point `fatal` (0: never); whether it died, and at what."""
    from django.db import connections

    connections.close_all()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 1
        try:
            act = acts()[name]
            connections.close_all()
            StatementFuse(fatal, lambda what: os.write(writing, f"{what}\n".encode())).light()
            act()
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        points = pipe.read().splitlines()
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if ended not in (0, -signal.SIGKILL):
        raise RuntimeError(f"{name} ended with status {ended}; its traceback is above.")
    return ended != 0, points[-1] if points else ""


def sweep(name: str, home: Path, kept: Path) -> dict[str, Any]:
    """One act, killed at each of its points in turn, on a fresh copy of the instance each time."""
    from django.db import connections

    from governance.assurance.verify import live_differences

    def restore() -> None:
        connections.close_all()
        for part in KEPT:
            place, source = home / part, kept / part
            shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
            if source.exists():
                shutil.copytree(source, place) if source.is_dir() else shutil.copy(source, place)

    restore()
    before = tables()
    in_child(name, 0)
    after = tables()
    killed: list[list[str]] = []
    wrong: list[str] = [] if before != after else ["the undisturbed act changed nothing"]
    for fatal in range(1, 1_000):
        restore()
        died, point = in_child(name, fatal)
        now = tables()
        where = "before" if now == before else "after" if now == after else "between"
        wrong += live_differences()
        if not died:
            break
        killed.append([point, where])
    return {"act": name, "killed": killed, "wrong": wrong}


def main() -> None:
    """Prepare, then sweep each act."""
    from django.conf import settings
    from django.db import connections

    from tests.governance.proof.clock import Clock

    home = Path(settings.PAWL_HOME)
    clock = Clock()
    with clock.rules():
        prepare()
        clock.forward(hours=25)
        names = list(acts())
        connections.close_all()
        kept = home.with_name("kept")
        shutil.copytree(home, kept, symlinks=True)
        for name in names:
            print(json.dumps(sweep(name, home, kept)), flush=True)


if __name__ == "__main__":
    django.setup()
    main()
