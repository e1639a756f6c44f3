"""`install_task`: bring a task folder in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from deploy.cli import PawlCommand
from deploy.prepare import prepare
from governance.desk.signin import sign_in
from loop.installation import install


class Command(PawlCommand):
    """Install one task."""

    help = "Install a task folder: its data, its evaluator, its seed harness as the baseline."
    example = "python3 manage.py install_task tasks/digits --as oscar"

    def add_arguments(self, parser: CommandParser) -> None:
        """The folder and who acts."""
        parser.add_argument("path", type=Path, help="the task's folder (see docs/tasks.md)")
        parser.add_argument(
            "--as", dest="username", metavar="NAME", help="an operator (asks for the password)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Prepare the data, then register everything in one transaction."""
        folder: Path = options["path"]
        if not (folder / "task.toml").is_file():
            raise CommandError(f"{folder} has no task.toml; give a task's folder, as tasks/digits.")
        prepare()
        by = sign_in(options["username"])
        if not self.as_json:
            self.stdout.write(f"Preparing the data of {folder.name} ...")
        task = install(folder, by)
        then = f"python3 manage.py preflight {task.slug} --as {options['username'] or 'OPERATOR'}"
        self.emit(
            {"task": task.slug, "title": task.title},
            f"Task {task.slug} is installed: {task.title}.\nBefore its first campaign: {then}",
        )
