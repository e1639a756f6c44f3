"""What `demo` needs besides an ordinary campaign: its people, and reviewers that act by themselves.

All of it works in a data home that was made by `demo`, and nowhere else; the log says that it was a demonstration.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from django.db import transaction

from deploy import home
from governance import actions
from governance.actors import SETUP, Actor
from governance.assurance.bundle import Report
from governance.assurance.export import ExportRequest, export_bundle
from governance.assurance.verify import verify_bundle
from governance.audit.checkpoints import init_signer
from governance.audit.log import Facts
from governance.errors import NotAllowed
from governance.models import Person, PointerMove, Proposal, Review, Task
from governance.people import in_setup
from governance.roles import AUDITOR, OPERATOR, OWNER, REVIEWER
from governance.transitions import DECIDABLE
from loop.bundles import artifacts_of

PASSWORDS = "demo-passwords.json"
CAST = {
    "demo-operator": (OPERATOR,),
    "demo-reviewer-1": (REVIEWER,),
    "demo-reviewer-2": (REVIEWER,),
    "demo-auditor": (AUDITOR,),
    "demo-owner-1": (OWNER,),
    "demo-owner-2": (OWNER,),
}
VERDICT = "Demonstration: the hidden comparison passed and the change is what its decision says."
GO_LIVE = "Demonstration: approved by the quorum, so it goes live."
GO_BACK = "Demonstration: any former live release can come back in one action."
SEEN = "Demonstration: the revert was looked at afterwards."


@dataclass(frozen=True, slots=True)
class Cast:
    """The demonstration's people as actors, and the file that holds their passwords."""

    people: dict[str, Actor]
    passwords: Path


def check_demo() -> None:
    """Raises NotAllowed outside a data home that was made by `demo`."""
    if not home.is_demo():
        raise NotAllowed(
            f"{home.home()} was not made by `demo`, so nothing is demonstrated in it; "
            "set PAWL_HOME to a new folder for a demonstration."
        )


def make_cast() -> Cast:
    """Create the demonstration's people on first use, with random passwords kept in the data home."""
    check_demo()
    init_signer()
    path = home.folder("keys") / PASSWORDS
    if in_setup():
        passwords = {name: secrets.token_urlsafe(12) for name in CAST}
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            json.dump(passwords, handle, indent=1)
        actions.install_policy(by=SETUP)
        for name, roles in CAST.items():
            _add(name, passwords[name], roles)
    people = Person.objects.filter(user__username__in=CAST).select_related("user")
    return Cast({person.user.get_username(): person.actor("command") for person in people}, path)


def _add(name: str, password: str, roles: tuple[str, ...]) -> None:
    person = Person.objects.filter(user__username=name).first()
    if person is None:
        person = actions.create_person(username=name, password=password, by=SETUP)
    else:
        actions.change_password(person=person, password=password, by=person.actor("command"))
    for role in roles:
        actions.grant_role(person=person, role=role, by=SETUP)


def password_of(cast: Cast, name: str) -> str:
    """A demonstration account's password, for people to sign in with."""
    passwords: dict[str, str] = json.loads(cast.passwords.read_text(encoding="utf-8"))
    return passwords[name]


def auto_review(proposal: Proposal, cast: Cast) -> Proposal:
    """Have the two demonstration reviewers approve and the operator promote. Every rule of the desk holds."""
    check_demo()
    operator = cast.people["demo-operator"]
    with transaction.atomic():
        actions.note_event(
            by=operator,
            action="demo.auto_review",
            subject=("proposal", proposal.ref),
            facts=Facts(reason="The reviews that follow are given by the demonstration, not by people."),
        )
    for name in ("demo-reviewer-1", "demo-reviewer-2"):
        proposal.refresh_from_db()
        if proposal.status in DECIDABLE:
            actions.review(
                proposal=proposal,
                verdict=Review.Verdict.APPROVE,
                reason=VERDICT,
                subject_digest=proposal.subject_digest,
                by=cast.people[name],
            )
    proposal.refresh_from_db()
    actions.promote(proposal=proposal, reason=GO_LIVE, by=operator)
    proposal.refresh_from_db()
    return proposal


def revert_and_restore(task: Task, cast: Cast) -> tuple[str, str]:
    """Go back to the release that was live before, and have the revert looked at; returns (from, to)."""
    check_demo()
    key = f"release:{task.slug}"
    moves = list(PointerMove.objects.filter(key=key).order_by("-generation")[:1])
    last = moves[0]
    reverted = actions.revert(
        key=key, to_digest=last.previous, reason=GO_BACK, by=cast.people["demo-operator"]
    )
    actions.acknowledge(proposal=reverted, reason=SEEN, by=cast.people["demo-reviewer-1"])
    return last.digest, last.previous


def export_and_verify(task: Task, cast: Cast, dest: Path) -> Report:
    """Export the whole log with the task's artifacts and verify it offline."""
    export_bundle(dest, by=cast.people["demo-auditor"], request=ExportRequest(artifacts=artifacts_of(task)))
    return verify_bundle(dest)
