"""`manage.py resume`: end a stop, by two people."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from deploy.cli import PawlCommand
from governance.actions import resume
from governance.desk.signin import sign_in


class Command(PawlCommand):
    """Ask to resume what was stopped; the second person who asks ends the stop."""

    help = "Ask to resume a stopped task, or everything; it takes two different people."
    example = 'python3 manage.py resume --reason "The cause is found and held." --as olga'

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What, why and who."""
        parser.add_argument("task", nargs="?", default="", help="one task (default: the stop of everything)")
        parser.add_argument("--reason", default="", help="why; kept with the log")
        parser.add_argument("--as", dest="username", metavar="NAME", help="who acts (asks for the password)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask."""
        halt = resume(scope=options["task"], reason=options["reason"], by=sign_in(options["username"]))
        what = halt.scope or "Everything"
        over = halt.resumed_at is not None
        self.emit(
            {"scope": halt.scope, "asked": len(halt.resumed_by), "over": over},
            f"{what} goes on." if over else f"Noted: a second person must ask before {what.lower()} goes on.",
        )
