"""`lint`: format, style, types, import contracts, sizes, migrations, system checks, state diagram."""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from django.core.management import get_commands
from django.core.management.base import CommandParser

from deploy.cli import PawlCommand
from deploy.home import REPO
from deploy.source_rules import too_long, training_imports
from deploy.steps import Outcome, Step, python, run_step


class Command(PawlCommand):
    """Check the source without running the service."""

    help = "Check format, style, types, import contracts, sizes, migrations and the state diagram."
    example = "python3 manage.py lint --fix"

    def add_arguments(self, parser: CommandParser) -> None:
        """`--fix` repairs what a tool can."""
        parser.add_argument("--fix", action="store_true", help="Format and apply the safe corrections first.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run every step, even after one failed; exit status 1 when any did."""
        with tempfile.TemporaryDirectory(prefix="pawl-lint-") as folder:
            environment = {"PAWL_HOME": folder, "PAWL_BOOTSTRAP": "0"}
            outcomes = [self.run(step, environment) for step in _fixes()] if options["fix"] else []
            with ThreadPoolExecutor(2) as pool:
                outcomes += pool.map(lambda step: self.run(step, environment), _steps())
        failed = [outcome.name for outcome in outcomes if not outcome.ok]
        self.emit(_as_data(outcomes), f"lint: {', '.join(failed)} failed" if failed else "lint: all passed")
        if failed:
            sys.exit(1)

    def run(self, step: Step, environment: dict[str, str]) -> Outcome:
        """Run one step; its lines are shown together when it has ended, for another one runs beside it."""
        lines: list[str] = []
        outcome = run_step(step, lines.append, environment)
        self.say("\n".join(lines))
        return outcome

    def say(self, line: str) -> None:
        """Show progress (on stderr with `--json`)."""
        (self.stderr if self.as_json else self.stdout).write(line)


def _as_data(outcomes: list[Outcome]) -> dict[str, Any]:
    steps = [{"name": o.name, "ok": o.ok, "seconds": round(o.seconds, 1)} for o in outcomes]
    return {"ok": all(o.ok for o in outcomes), "steps": steps}


def _tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _fixes() -> list[Step]:
    return [
        Step("apply corrections", (_tool("ruff"), "check", "--fix", "--exit-zero", "-q", ".")),
        Step("apply format", (_tool("ruff"), "format", "-q", ".")),
    ]


def _steps() -> list[Step]:
    fix = "python3 manage.py lint --fix"
    steps = [
        Step("types", (_tool("mypy"),)),  # the longest
        Step("format", (_tool("ruff"), "format", "--check", "."), remedy=fix),
        Step("style", (_tool("ruff"), "check", "--output-format", "concise", "."), remedy=fix),
        Step("sizes", check=lambda: too_long(REPO), remedy="exceptions are listed in deploy/source_rules.py"),
        Step("training stack", check=lambda: training_imports(REPO), remedy="see deploy/source_rules.py"),
        Step(
            "import contracts",
            (_tool("lint-imports"), "--no-cache"),
            remedy="see pyproject.toml, importlinter",
        ),
        Step("system checks", python("manage.py", "check", "--fail-level", "WARNING")),
        Step(
            "missing migrations",
            python("manage.py", "makemigrations", "--check", "--dry-run"),
            remedy="python3 manage.py makemigrations",
        ),
    ]
    if "state_diagram" in get_commands():
        diagram = python("manage.py", "state_diagram", "--check")
        steps.append(Step("state diagram", diagram, remedy="python3 manage.py state_diagram --write"))
    return steps
