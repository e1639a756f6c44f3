"""`manage.py read_token`: give a SIEM the right to read the audit log over HTTP, or take it back."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from deploy.cli import PawlCommand
from governance.audit.tokens import create_token, revoke_token
from governance.desk.signin import sign_in
from governance.errors import BadInput
from governance.models import ReadToken


class Command(PawlCommand):
    """Read tokens."""

    help = "Give, list or revoke tokens that read the audit log over HTTP."
    example = "python3 manage.py read_token create splunk --as ada\n  python3 manage.py read_token list"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What to do, with which token, and who does it."""
        parser.add_argument("what", choices=["create", "revoke", "list"])
        parser.add_argument("name", nargs="?", help="the consumer's name")
        parser.add_argument("--as", dest="username", metavar="NAME", help="an auditor or evaluator owner")

    def handle(self, *args: Any, **options: Any) -> None:
        """Create, revoke or list."""
        name = options["name"]
        if options["what"] == "list":
            rows = [
                {"name": row.name, "given": row.created_at, "revoked": row.revoked_at}
                for row in ReadToken.objects.order_by("name")
            ]
            lines = [f"{row['name']}: {'revoked' if row['revoked'] else 'in use'}" for row in rows]
            self.emit(rows, "\n".join(lines) or "No token was given yet.")
            return
        if not name:
            raise BadInput(f"Name the consumer: read_token {options['what']} NAME --as WHO.")
        by = sign_in(options["username"])
        if options["what"] == "revoke":
            revoke_token(name=name, by=by)
            self.emit({"name": name}, f"Token {name} is revoked.")
            return
        token = create_token(name=name, by=by)
        self.emit({"name": name, "token": token}, f"{token}\nThis is shown once; only its digest is kept.")
