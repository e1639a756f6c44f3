"""`manage.py stop`: the stop switch."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from deploy.cli import PawlCommand
from governance.actions import stop
from governance.desk.finding import task_by_slug
from governance.desk.signin import sign_in


class Command(PawlCommand):
    """Stop a task or everything; one person is enough. Works with the queue and the workers down."""

    help = "Stop one task, or everything: nothing is run, proposed, verified or promoted until two people resume."
    example = 'python3 manage.py stop --reason "The scores jumped overnight." --as oscar'

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What, why and who."""
        parser.add_argument("task", nargs="?", default="", help="one task (default: everything)")
        parser.add_argument("--reason", default="", help="why; kept with the stop")
        parser.add_argument("--as", dest="username", metavar="NAME", help="who acts (asks for the password)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Stop."""
        scope = task_by_slug(options["task"]).slug if options["task"] else ""
        halt = stop(scope=scope, reason=options["reason"], by=sign_in(options["username"]))
        self.emit(
            {"scope": halt.scope, "stopped_at": halt.stopped_at.isoformat()},
            f"{scope or 'Everything'} is stopped. Open proposals are held; what is live gets no lease, so it is served "
            f"for 30 s more at most, and can be reverted. Two people resume it: manage.py resume {scope}".rstrip(),
        )
