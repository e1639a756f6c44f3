"""`manage.py promote`: make an approved proposal's target live."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from deploy.cli import PawlCommand
from governance.actions import promote
from governance.desk.finding import proposal_by_ref
from governance.desk.signin import sign_in


class Command(PawlCommand):
    """Promote one approved proposal."""

    help = "Make an approved proposal's target live."
    example = 'python3 manage.py promote 3f2a --reason "Approved by two, goes live." --as oscar'

    def add_arguments(self, parser: ArgumentParser) -> None:
        """REF, a reason and who acts."""
        parser.add_argument("ref", help="first characters of the proposal's reference")
        parser.add_argument("--reason", required=True, help="why now; kept with the promotion")
        parser.add_argument("--as", dest="username", metavar="NAME", help="who acts (asks for the password)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Promote."""
        proposal = proposal_by_ref(options["ref"])
        moved = promote(proposal=proposal, reason=options["reason"], by=sign_in(options["username"]))
        self.emit(
            {
                "key": moved.key,
                "generation": moved.generation,
                "digest": moved.digest,
                "previous": moved.previous,
            },
            f"{moved.key} is {moved.digest[:12]} now (generation {moved.generation}, was {moved.previous[:12]}).",
        )
