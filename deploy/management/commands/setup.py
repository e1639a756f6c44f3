"""`setup`: everything that a later command would otherwise do on its first run."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from deploy import home
from deploy.cli import PawlCommand
from deploy.prepare import prepare


class Command(PawlCommand):
    """Prepare the data home and the database (the bootstrap has installed the packages before this runs)."""

    help = "Install what is needed, make the data home and bring the database up to date."
    example = "python3 manage.py setup --extra train"

    def add_arguments(self, parser: CommandParser) -> None:
        """The extras are read by the bootstrap; declared here for `--help`."""
        parser.add_argument(
            "--extra",
            action="append",
            choices=["train", "dev"],
            default=[],
            help="Also install these packages.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Prepare and say what was done."""
        applied = prepare()
        data = {"home": str(home.home()), "demo": home.is_demo(), "migrations_applied": applied}
        done = f"{len(applied)} migrations applied" if applied else "the database is up to date"
        self.emit(data, f"Ready: data home {home.home()}, {done}.")
