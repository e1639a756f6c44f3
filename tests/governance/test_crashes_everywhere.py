"""Every verb of governance/actions, cut off before each of its statements: it is there with its entries, or not at all.

The connection is lost as the process would be: nothing is rolled back by the service, everything by the database. The
same on both databases; test_crashes.py kills whole processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.apps import apps
from django.db import DatabaseError, connection

from governance import actions
from governance.assurance.verify import live_differences
from governance.audit.checkpoints import make_checkpoint
from governance.errors import AuditError
from tests.governance.proof.clock import Clock
from tests.governance.proof.story import Step, story

READS = frozenset({"SELECT", "PRAGMA", "BEGIN"})
MOST_POINTS = 400
UNDECIDED = {"mark_seen"}  # no decision, so no entry
TABLES = sorted({model._meta.db_table for model in apps.get_app_config("governance").get_models()})
VERBS = {name for name in actions.__all__ if name[0].islower()} - {"policy_manifest"}  # reads a text


class Cut(BaseException):
    """The connection is gone in the middle of an act."""


class Fuse:
    """Passes every statement that writes, and the commit; cuts the connection at number `fatal` and for good."""

    def __init__(self, fatal: int) -> None:
        """Nothing was passed yet."""
        self.fatal, self.passed = fatal, 0

    def point(self) -> None:
        """Pass one point."""
        self.passed += 1
        if self.burnt:
            connection.connection.close()
            raise Cut

    @property
    def burnt(self) -> bool:
        """Whether the connection was cut."""
        return self.passed >= self.fatal

    def statement(self, execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        """Django's execute wrapper."""
        if sql.split(None, 1)[0] not in READS:
            self.point()
        return execute(sql, *rest)


def survives(do: Callable[[], object], fatal: int) -> bool:
    """Whether the act ends before its connection is cut at point `fatal`."""
    connection.ensure_connection()
    fuse, commit = Fuse(fatal), connection.commit

    def commit_at_a_point() -> None:
        fuse.point()
        commit()

    try:
        with (
            patch.object(connection, "commit", commit_at_a_point),
            connection.execute_wrapper(fuse.statement),
        ):
            do()
    except (Cut, DatabaseError):
        if not fuse.burnt:
            raise
    if fuse.burnt:
        connection.close()
    return not fuse.burnt


def rows() -> dict[str, list[Any]]:
    """Every row of every table of the trusted core, and of the accounts."""
    found = {}
    with connection.cursor() as cursor:
        for table in [*TABLES, "auth_user"]:
            cursor.execute(f"SELECT * FROM {table} ORDER BY 1")
            found[table] = [tuple(map(_plain, row)) for row in cursor.fetchall()]
    return found


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def cut_everywhere(step: Step) -> int:
    """Cut the act at each of its points in turn; how often it left nothing. Afterwards it is done."""
    before, nothing = rows(), 0
    for fatal in range(1, MOST_POINTS):
        done = survives(step.do, fatal)
        now = rows()
        if now != before:
            if not done and step.parts:  # it goes on where it was cut off
                check_explained(step, before, now)
                before = now
                continue
            break
        assert not done, f"{step.verb} did nothing; tell a story in which it does"
        nothing += 1
    check_explained(step, before, rows())
    return nothing


def check_explained(step: Step, before: dict[str, list[Any]], now: dict[str, list[Any]]) -> None:
    """What changed has its entry, and the log explains every row."""
    grown = len(now["governance_auditentry"]) > len(before["governance_auditentry"])
    assert grown == (step.verb not in UNDECIDED), step.verb


@pytest.fixture
def clock(transactional_db: None, signer_home: Path) -> Iterator[Clock]:
    """A clock over an empty instance with a signer."""
    clock = Clock()
    with clock.rules():
        yield clock


def test_every_verb_cut_off_at_any_statement_happened_with_its_entries_or_did_not(clock: Clock) -> None:
    left_nothing = {}
    for step in story(clock):
        differed = live_differences()
        left_nothing[step.verb] = cut_everywhere(step)
        assert live_differences() == differed, step.verb
    assert set(left_nothing) == VERBS
    least = {verb: count for verb, count in left_nothing.items() if count < 3}
    assert least == {}, "these verbs were hardly cut off at all"
    make_checkpoint()
    assert live_differences() == []


def test_no_verb_happens_whose_entry_cannot_be_written(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = set()
    for step in story(clock):
        if step.verb not in UNDECIDED:
            before = rows()
            with monkeypatch.context() as small:
                small.setattr("governance.audit.log.MAX_ENTRY_BYTES", 100)  # no entry is this small
                with pytest.raises(AuditError, match="the log takes 100"):
                    step.do()
            assert rows() == before, step.verb
            refused.add(step.verb)
        step.do()
    assert refused | UNDECIDED == VERBS
