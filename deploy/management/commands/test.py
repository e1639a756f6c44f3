"""`test`: lint, then every test on SQLite, then those that touch the database again on PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from deploy import branches
from deploy.cli import PawlCommand
from deploy.home import REPO
from deploy.steps import python


@dataclass(frozen=True)
class Tally:
    """Counts of one run of pytest. `failed` includes errors; a run that reported nothing counts as one."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


class Command(PawlCommand):
    """Run the tests."""

    help = "Lint, then run the tests on SQLite and on a private PostgreSQL."
    example = "python3 manage.py test tests/deploy --no-lint --database sqlite"

    def add_arguments(self, parser: CommandParser) -> None:
        """What to run and where."""
        parser.add_argument("paths", nargs="*", help="Test files or folders (default: all of tests/).")
        parser.add_argument("--fast", action="store_true", help="Without browser, training and PostgreSQL.")
        parser.add_argument("--no-lint", action="store_true", help="Run the tests only.")
        parser.add_argument(
            "--coverage",
            action="store_true",
            help="Fail unless every line and branch of governance/ was taken (all paths, both databases).",
        )
        parser.add_argument("--database", choices=["sqlite", "postgres", "both"], default="both")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run; the last line is `N passed, N failed`. Exit status 1 when anything failed, lint included."""
        absent = [path for path in options["paths"] if not (REPO / path.partition("::")[0]).exists()]
        if absent:
            raise CommandError(
                f"There is no {absent[0]}; give paths from the repository's root, like tests/deploy."
            )
        lint_ok = options["no_lint"] or self.run_program(python("manage.py", "lint"))
        with tempfile.TemporaryDirectory(prefix="pawl-coverage-") as folder:
            measuring = branches.environment(Path(folder)) if options["coverage"] else {}
            total = self.run_on_databases(options, measuring)
            missed = branches.missed(Path(folder)) if options["coverage"] else []
        if not lint_ok:
            self.say("lint failed: see the lines above")
        if missed:
            self.say("\n".join(["no test takes these lines or branches of governance/:", *missed]))
        self.emit({"passed": total.passed, "failed": total.failed, "skipped": total.skipped}, str(total))
        if total.failed or missed or not lint_ok:
            sys.exit(1)

    def run_on_databases(self, options: dict[str, Any], environment: dict[str, str]) -> Tally:
        """The selected tests on SQLite, and those that touch the database again on PostgreSQL."""
        total = Tally()
        if options["database"] != "postgres":
            selection = ["-m", "not train and not browser"] if options["fast"] else []
            total += self.run_tests("SQLite", environment, [*selection, *options["paths"]])
        if options["database"] != "sqlite" and not options["fast"]:
            postgres = {**environment, "PAWL_TEST_DATABASE": "postgres"}
            selection = ["-m", "database and not browser"]
            total += self.run_tests("PostgreSQL", postgres, [*selection, *options["paths"]])
        return total

    def run_tests(self, where: str, environment: dict[str, str], selection: list[str]) -> Tally:
        """Run pytest once, its lines passing through, and count from its report."""
        self.say(f"== tests on {where}")
        with tempfile.TemporaryDirectory(prefix="pawl-report-") as folder:
            report = Path(folder) / "report.xml"
            pytest = ["-m", "pytest", "-q", f"--junitxml={report}", *selection]
            # In the order of the files, for the reordering leaves the few long ones to the end, one after the other.
            # One worker more than processors: many tests wait for a program that they started.
            workers = min(4, (os.cpu_count() or 1) + 1)
            parallel = ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"]
            self.run_program(python(*pytest, *parallel), environment)
            return read_report(report)

    def run_program(self, argv: tuple[str, ...], environment: dict[str, str] | None = None) -> bool:
        """Run a program in the repository with its output passing through; whether it succeeded."""
        self.stdout.flush()
        done = subprocess.run(
            argv,
            cwd=REPO,
            # Bytecode is kept whatever the caller prefers: hundreds of processes would compile the same source again.
            env={**os.environ, "PAWL_BOOTSTRAP": "0", "PYTHONDONTWRITEBYTECODE": "", **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr if self.as_json else None,
            check=False,
        )
        return done.returncode == 0

    def say(self, line: str) -> None:
        """Show progress (on stderr with `--json`)."""
        (self.stderr if self.as_json else self.stdout).write(line)


def read_report(path: Path) -> Tally:
    """Count from pytest's JUnit report; a report that is missing is a failure, never an empty success."""
    if not path.exists():
        return Tally(failed=1)
    suite = ElementTree.parse(path).getroot().find("testsuite")
    if suite is None:
        return Tally(failed=1)
    counts = {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
    failed = counts["failures"] + counts["errors"]
    return Tally(counts["tests"] - failed - counts["skipped"], failed, counts["skipped"])
