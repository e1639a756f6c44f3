"""`manage.py people`: who is known here and what they may do."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import Any

from deploy.cli import PawlCommand
from governance.actions import create_person, grant_role, install_policy, revoke_role
from governance.actors import SETUP, Actor
from governance.errors import BadInput
from governance.models import Person
from governance.people import in_setup, person_named
from governance.roles import MEANING, ROLES, roles_of
from governance.signin import ask_password, sign_in


class Command(PawlCommand):
    """Add people, give and take roles, list them."""

    help = "List people and roles, add a person, give or take a role."
    example = (
        "python3 manage.py people add oscar --role operator\n  "
        'python3 manage.py people add olga --role "evaluator owner"    (ends the set-up)\n'
        "  python3 manage.py people grant oscar --role reviewer --as olga"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What to do, with whom, and who acts."""
        parser.add_argument("act", choices=["list", "add", "grant", "revoke"], nargs="?", default="list")
        parser.add_argument("name", nargs="?", help="user name")
        parser.add_argument("--role", action="append", default=[], choices=ROLES, help="may be repeated")
        parser.add_argument(
            "--as", dest="username", metavar="OWNER", help="who acts (not needed during set-up)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it."""
        if options["act"] == "list":
            self._list()
            return
        if not options["name"]:
            raise BadInput(f"Say whom: people {options['act']} NAME.")
        by = SETUP if in_setup() and not options["username"] else sign_in(options["username"])
        if options["act"] == "add":
            self._add(options["name"], by, options["role"])
        else:
            self._change(options, by)

    def _add(self, name: str, by: Actor, roles: list[str]) -> None:
        if by == SETUP:
            install_policy(by=SETUP)
        variable = "PAWL_NEW_PASSWORD"
        password = os.environ.get(variable) or ask_password(f"New password of {name}: ", variable)
        person = create_person(username=name, password=password, by=by)
        for role in roles:
            grant_role(person=person, role=role, by=by)
        self.emit(
            {"name": name, "ref": person.ref, "roles": roles},
            f"Added {name} ({', '.join(roles) or 'no role'}).",
        )

    def _change(self, options: dict[str, Any], by: Actor) -> None:
        if not options["role"]:
            raise BadInput(f"Say which role: --role with one of {', '.join(ROLES)}.")
        person = person_named(options["name"])
        for role in options["role"]:
            if options["act"] == "grant":
                grant_role(person=person, role=role, by=by)
            else:
                revoke_role(person=person, role=role, by=by)
        roles = sorted(roles_of(person))
        self.emit(
            {"name": options["name"], "roles": roles}, f"{person} holds: {', '.join(roles) or 'no role'}."
        )

    def _list(self) -> None:
        rows: list[dict[str, Any]] = [
            {
                "name": str(person),
                "ref": person.ref,
                "active": person.user.is_active,
                "roles": sorted(roles_of(person)),
            }
            for person in Person.objects.select_related("user").order_by("user__username")
        ]
        lines = [f"{row['name']:<20} {', '.join(row['roles']) or '-'}" for row in rows]
        lines += ["", *(f"{role:<16} {meaning}" for role, meaning in MEANING.items())]
        self.emit(
            rows, "\n".join(lines) if rows else "Nobody is known here yet: people add NAME --role ROLE."
        )
