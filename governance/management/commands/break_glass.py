"""`manage.py break_glass`: an unverified release, in an emergency."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from deploy.cli import PawlCommand
from governance.actions import break_glass
from governance.desk.finding import release_by_digest, task_by_slug
from governance.desk.signin import sign_in
from governance.policy import policy_now


class Command(PawlCommand):
    """Propose an unverified release in an emergency."""

    help = (
        "Propose a registered release without verification; two more operators approve, and it goes back by itself "
        "unless a reviewer acknowledges it."
    )
    example = (
        'python3 manage.py break_glass digits --release 9c1f --as oscar --reason "Production answers are wrong and no '
        'former release is better."'
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """TASK, which release, why, and who acts."""
        parser.add_argument("task", help="name of the task")
        parser.add_argument(
            "--release", required=True, metavar="DIGEST", help="first characters of its digest"
        )
        parser.add_argument("--reason", default="", help="why, at length; kept with the log")
        parser.add_argument("--as", dest="username", metavar="NAME", help="who acts (asks for the password)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Propose it."""
        release = release_by_digest(task_by_slug(options["task"]), options["release"])
        proposal = break_glass(release=release, reason=options["reason"], by=sign_in(options["username"]))
        lane = policy_now().lane(proposal.lane)
        self.emit(
            {"ref": proposal.ref, "status": proposal.status, "lane": proposal.lane},
            f"Proposal {proposal.ref[:8]} waits for {lane.approvals} other {lane.role}s, then for its promotion.",
        )
