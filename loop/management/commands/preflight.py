"""`preflight`: whether an installed task can be trusted with a campaign."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from deploy.cli import PawlCommand
from deploy.prepare import prepare
from governance.desk.signin import sign_in
from governance.models import Task
from loop.installed import open_task
from loop.preflight import Check, as_table
from loop.preflights import carry_out


class Command(PawlCommand):
    """Examine one installed task."""

    help = "Run a task's own submissions: seed and reference are scored, cheats are refused. Campaigns need it green."
    example = "python3 manage.py preflight digits --as oscar"

    def add_arguments(self, parser: CommandParser) -> None:
        """The task and who acts."""
        parser.add_argument("task", help="slug of an installed task")
        parser.add_argument(
            "--as", dest="username", metavar="NAME", help="an operator (asks for the password)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """A line a check, the table at the end; exit status 1 when one is red."""
        prepare()
        task = Task.objects.filter(slug=options["task"]).first()
        if task is None:
            raise CommandError(
                f"There is no task {options['task']!r}; `manage.py tasks` lists the installed ones."
            )
        by = sign_in(options["username"])
        done = carry_out(open_task(task), by, self._say)
        checks = [Check(**check) for check in done.checks]
        failed = [check.name for check in checks if not check.passed]
        end = f"red: {', '.join(failed)}" if failed else f"green: {len(checks)} checks passed"
        self.emit(
            {
                "task": task.slug,
                "preflight": done.ref,
                "green": done.green,
                "digests": done.digests,
                "checks": done.checks,
            },
            f"\n{as_table(checks)}\n\nPreflight {done.ref[:8]} of {task.slug} is {end}.",
        )
        if not done.green:
            raise CommandError(
                f"Preflight of {task.slug} is red; no campaign starts on it until that is corrected."
            )

    def _say(self, check: Check) -> None:
        (self.stderr if self.as_json else self.stdout).write(check.line())
