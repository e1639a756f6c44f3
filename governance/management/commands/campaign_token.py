"""`manage.py campaign_token`: let a program start campaigns on your behalf over HTTP, or take that back."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from deploy.cli import PawlCommand
from governance.audit.campaign_tokens import create_campaign_token, revoke_campaign_token
from governance.desk.signin import sign_in
from governance.errors import BadInput
from governance.models import CampaignToken


class Command(PawlCommand):
    """Campaign tokens."""

    help = "Give, list or revoke tokens that start campaigns over HTTP on your behalf."
    example = (
        "python3 manage.py campaign_token create nightly --days 30 --as oscar\n"
        "  python3 manage.py campaign_token list"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What to do, with which token, and who does it."""
        parser.add_argument("what", choices=["create", "revoke", "list"])
        parser.add_argument("name", nargs="?", help="the program's name")
        parser.add_argument("--days", type=int, default=30, help="for how long (1 to 90, default 30)")
        parser.add_argument(
            "--as", dest="username", metavar="NAME", help="an operator, who is then the starter"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Create, revoke or list."""
        name = options["name"]
        if options["what"] == "list":
            rows = [
                {"name": row.name, "person": row.person, "expires": row.expires_at, "revoked": row.revoked_at}
                for row in CampaignToken.objects.order_by("name")
            ]
            lines = [
                f"{row.name}: {'revoked' if row.revoked_at else f'until {row.expires_at:%Y-%m-%d}'}"
                for row in CampaignToken.objects.order_by("name")
            ]
            self.emit(rows, "\n".join(lines) or "No campaign token was given yet.")
            return
        if not name:
            raise BadInput(f"Name the program: campaign_token {options['what']} NAME --as WHO.")
        by = sign_in(options["username"])
        if options["what"] == "revoke":
            revoke_campaign_token(name=name, by=by)
            self.emit({"name": name}, f"Campaign token {name} is revoked.")
            return
        token = create_campaign_token(name=name, days=options["days"], by=by)
        self.emit({"name": name, "token": token}, f"{token}\nThis is shown once; only its digest is kept.")
