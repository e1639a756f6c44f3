"""`manage.py state_diagram`: the life of a proposal, drawn from the table that decides it."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings

from deploy.cli import PawlCommand
from governance.desk.diagram import page
from governance.errors import BadInput


class Command(PawlCommand):
    """Print the diagram, write docs/states.md, or check that it is up to date."""

    help = "Print the state diagram of proposals; --write makes docs/states.md, --check compares it."
    example = "python3 manage.py state_diagram --check"
    has_json = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Write, check, or print."""
        choice = parser.add_mutually_exclusive_group()
        choice.add_argument("--write", action="store_true", help="write docs/states.md")
        choice.add_argument("--check", action="store_true", help="fail unless docs/states.md is up to date")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it."""
        target = Path(settings.REPO) / "docs" / "states.md"
        if options["write"]:
            target.write_text(page(), encoding="utf-8")
        elif not options["check"]:
            self.stdout.write(page())
        elif not target.exists() or target.read_text(encoding="utf-8") != page():
            raise BadInput(
                "docs/states.md does not show the states as they are; run: manage.py state_diagram --write"
            )
