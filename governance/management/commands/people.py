"""`manage.py people`: who is known here and what they may do."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import Any, Literal

from deploy.cli import PawlCommand
from governance.actions import create_person, grant_role, install_policy, reset_factors, revoke_role
from governance.actors import SETUP, Actor
from governance.desk.signin import ask_password, sign_in
from governance.errors import BadInput
from governance.models import Person
from governance.people import in_setup, person_named
from governance.roles import MEANING, ROLES, roles_of
from governance.roster import FEWEST_OWNERS, RoleChange, owners_in, roster_now
from governance.submitting import TO, submit_roles


class Command(PawlCommand):
    """Add people, give and take roles, list them."""

    help = "List people and roles, add a person, give or take a role, reset lost second factors (two owners)."
    example = (
        "python3 manage.py people add oscar --role operator\n  "
        'python3 manage.py people add olga --role "evaluator owner"    (the second owner ends the set-up)\n'
        "  python3 manage.py people grant oscar --role reviewer --as olga    (then: a proposal to two owners)\n"
        '  python3 manage.py people reset oscar --reason "The phone is lost." --as olga    (and another owner)'
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What to do, with whom, and who acts."""
        parser.add_argument(
            "act", choices=["list", "add", "grant", "revoke", "reset"], nargs="?", default="list"
        )
        parser.add_argument("name", nargs="?", help="user name")
        parser.add_argument("--role", action="append", default=[], choices=ROLES, help="may be repeated")
        parser.add_argument("--reason", default="", help="why factors are reset; kept with the log")
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
        elif options["act"] == "reset":
            self._reset(person_named(options["name"]), options["reason"], by)
        else:
            self._change(options, by)

    def _add(self, name: str, by: Actor, roles: list[str]) -> None:
        if by == SETUP:
            install_policy(by=SETUP)
        variable = "PAWL_NEW_PASSWORD"
        password = os.environ.get(variable) or ask_password(f"New password of {name}: ", variable)
        person = create_person(username=name, password=password, by=by)
        if by == SETUP:
            for role in roles:
                grant_role(person=person, role=role, by=by)
        elif roles:
            self._propose(person, roles, "grant", by)
            return
        self.emit(
            {"name": name, "ref": person.ref, "roles": roles},
            f"Added {name} ({', '.join(roles) or 'no role'}).{_still_in_setup()}",
        )

    def _reset(self, person: Person, reason: str, by: Actor) -> None:
        asked = reset_factors(person=person, reason=reason, by=by)
        over = asked.done_at is not None
        done = f"The second factors of {person} are reset; the log vouches for the account as it is."
        self.emit(
            {"name": str(person), "over": over},
            done if over else f"Noted: a second evaluator owner must ask within a day to reset {person}.",
        )

    def _change(self, options: dict[str, Any], by: Actor) -> None:
        if not options["role"]:
            raise BadInput(f"Say which role: --role with one of {', '.join(ROLES)}.")
        person = person_named(options["name"])
        if by != SETUP:
            self._propose(person, options["role"], options["act"], by)
            return
        change = grant_role if options["act"] == "grant" else revoke_role
        for role in options["role"]:
            change(person=person, role=role, by=by)
        roles = sorted(roles_of(person))
        self.emit(
            {"name": options["name"], "roles": roles}, f"{person} holds: {', '.join(roles) or 'no role'}."
        )

    def _propose(self, person: Person, roles: list[str], act: Literal["grant", "revoke"], by: Actor) -> None:
        changes = [RoleChange(person.ref, role, act) for role in roles]
        words = f"{act.capitalize()} {', '.join(roles)} {TO[act]} {person}."
        proposal = submit_roles(changes=changes, summary=words, by=by)
        self.emit(
            {"ref": proposal.ref, "status": proposal.status, "lane": proposal.lane},
            f"{words} Proposal {proposal.ref[:8]} is {proposal.status}: two other evaluator owners decide.",
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


def _still_in_setup() -> str:
    if not in_setup():
        return " The set-up is over."
    missing = FEWEST_OWNERS - owners_in(roster_now())
    return (
        f" The set-up goes on until {missing} more evaluator owner{'s are' if missing > 1 else ' is'} added."
    )
