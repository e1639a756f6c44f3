"""`manage.py rotate_key`: give the audit log a new signing key."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from deploy.cli import PawlCommand
from governance.assurance.rotation import rotate_key
from governance.desk.signin import sign_in


class Command(PawlCommand):
    """Rotate the log's key."""

    help = "Give the audit log a new key; the change is an entry, signed by the old key and the new one."
    example = "python3 manage.py rotate_key --as olga"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Who does it."""
        parser.add_argument("--as", dest="username", metavar="NAME", help="an evaluator owner")

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate; a rotation that was cut off is finished."""
        key = rotate_key(by=sign_in(options["username"]))
        self.emit({"key": str(key)}, f"The log's key is now:\n{key}\nTell those who pinned the old one.")
