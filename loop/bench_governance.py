"""What the audit log costs at size, each figure against its bound: appending, checkpoints, export, offline checking."""

from __future__ import annotations

import csv
import resource
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from django.conf import settings
from django.db import transaction

from governance.actions import create_person, grant_role, install_policy
from governance.actors import LOOP, SETUP, Actor
from governance.assurance.export import ExportRequest, export_bundle
from governance.audit.checkpoints import get_signer, make_checkpoint
from governance.audit.log import Facts, record
from governance.audit.queries import LogFilter
from governance.models import AuditEntry
from governance.roles import AUDITOR

APPENDS = 300
BATCH = 5_000
PASSWORD = "a pass phrase for a bench that is gone afterwards"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure and its bound (`at_most` says on which side it must lie)."""

    what: str
    value: float
    unit: str
    bound: float
    at_most: bool = True

    @property
    def holds(self) -> bool:
        """Whether the figure keeps its bound."""
        return self.value <= self.bound if self.at_most else self.value >= self.bound

    def __str__(self) -> str:
        """The figure in a line."""
        side, verdict = ("at most" if self.at_most else "at least"), "ok" if self.holds else "FAILED"
        return f"{self.what}: {self.value:.2f} {self.unit} ({side} {self.bound:g}): {verdict}"


def bench_governance(entries: int, say: Say) -> list[Figure]:
    """The figures for a log of this many entries, in the data home of this process (SQLite)."""
    auditor = _auditor()
    say(f"Filling a log with {entries:,} entries")
    _fill(entries)
    first = _seconds(make_checkpoint)
    with transaction.atomic():  # as an act does it: its entry costs no commit of its own
        append = statistics.median(_seconds(lambda: _append(1)) for _ in range(APPENDS))
    alone = statistics.median(_seconds(lambda: _append(1)) for _ in range(APPENDS))
    say(f"An entry alone in its transaction, with this disk's fsync: {alone * 1000:.2f} ms at the median")
    again = statistics.median(_checkpoint_seconds() for _ in range(20))
    with TemporaryDirectory(dir=settings.PAWL_HOME) as folder:
        say("Exporting")
        raw = min(_seconds(lambda: _raw_export(Path(folder) / "raw.csv")) for _ in range(3))
        request = ExportRequest(LogFilter(), views=())
        export = _seconds(lambda: export_bundle(Path(folder) / "bundle", by=auditor, request=request))
        full = _seconds(lambda: export_bundle(Path(folder) / "full", by=auditor))
        say("Checking the export, with its views, offline on one core")
        check = _verify(Path(folder) / "full")
    return [
        Figure("append inside an act's transaction, median", append * 1000, "ms", 3),
        Figure("checkpoint after one more entry, median", again * 1000, "ms", 50),
        Figure(f"first checkpoint over {entries:,} entries", first, "s", 30),
        Figure(
            "export against the raw database export, share of its speed", raw / export, "", 0.5, at_most=False
        ),
        Figure("export with CSV and OCSF", full, "s", 60),
        Figure(f"offline check of {AuditEntry.objects.count():,} entries, of one core", check, "s", 30),
    ]


def _auditor() -> Actor:
    install_policy(by=SETUP)
    person = create_person(username="bench-auditor", password=PASSWORD, by=SETUP)
    grant_role(person=person, role=AUDITOR, by=SETUP)
    return person.actor("command")


def _fill(entries: int) -> None:
    while (missing := entries - AuditEntry.objects.count()) > 0:
        with transaction.atomic():
            _append(min(missing, BATCH))


def _append(count: int) -> None:
    facts = Facts(
        before="a" * 64, after="b" * 64, reason="An entry of the usual size, as a generation writes it.",
        policy={"digest": "c" * 64, "version": "strict 1"}, task="digits",
        detail={"generation": 7, "lever": "harness", "score": 0.8125},
    )  # fmt: skip
    with transaction.atomic():
        for _ in range(count):
            record(by=LOOP, action="campaign.generation", subject=("campaign", "5f0c6f5e"), facts=facts)


def _checkpoint_seconds() -> float:
    _append(1)
    return _seconds(make_checkpoint)


def _raw_export(path: Path) -> None:
    """The whole table as CSV, by the database's own driver."""
    with sqlite3.connect(settings.DATABASES["default"]["NAME"]) as link, path.open("w", newline="") as sink:
        csv.writer(sink).writerows(link.execute("SELECT * FROM governance_auditentry ORDER BY seq"))


def _verify(bundle: Path) -> float:
    """Seconds of one core that the bundle's own verifier takes. Raises CalledProcessError when it refuses."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    argv = [sys.executable, "-I", "-S", str(bundle / "verify.py"), "--key", str(get_signer().key())]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _seconds(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started
