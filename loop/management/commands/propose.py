"""`manage.py propose`: propose a changed policy or evaluator."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from deploy.cli import PawlCommand
from governance.desk.finding import task_by_slug
from governance.desk.signin import sign_in
from governance.errors import BadInput
from governance.models import Proposal
from governance.submitting import submit_policy
from governance.transitions import Status
from loop.evaluator_change import propose_evaluator, propose_registered

VERIFIER_NEXT = (
    " The verifier now scores the live release under both evaluators on the hidden data; then people decide."
)


class Command(PawlCommand):
    """Propose what the loop may not touch. Releases are proposed by the loop, with the verifier's evidence."""

    help = "Propose a changed policy or evaluator (a release is proposed by `manage.py verify`)."
    example = (
        'python3 manage.py propose --policy strict2.toml --summary "Three reviewers for weights." --as olga'
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What is proposed, why, and who acts."""
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--policy", type=Path, metavar="FILE", help="a policy as TOML")
        what.add_argument("--evaluator", type=Path, metavar="DIR", help="an evaluator's folder; needs --task")
        what.add_argument(
            "--evaluator-version", metavar="DIGEST", help="a registered evaluator version; needs --task"
        )
        parser.add_argument("--task", help="name of the task")
        parser.add_argument("--summary", default="", help="what changes and why")
        parser.add_argument("--as", dest="username", metavar="NAME", help="who acts (asks for the password)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Propose."""
        proposal = self._submit(options)
        self.emit(
            {"ref": proposal.ref, "status": proposal.status, "lane": proposal.lane},
            f"Proposal {proposal.ref[:8]} ({proposal.title}) is {proposal.status} in lane {proposal.lane}."
            + (VERIFIER_NEXT if proposal.status == Status.VERIFYING else ""),
        )

    def _submit(self, options: dict[str, Any]) -> Proposal:
        if options["policy"]:
            if not options["policy"].is_file():
                raise BadInput(f"{options['policy']} is no file.")
            text = options["policy"].read_text(encoding="utf-8")
            return submit_policy(text=text, summary=options["summary"], by=sign_in(options["username"]))
        folder = options["evaluator"]
        if folder and not folder.is_dir():
            raise BadInput(f"{folder} is no folder.")
        if not options["task"]:
            raise BadInput("Say whose evaluator it is: --task NAME.")
        task, by = task_by_slug(options["task"]), sign_in(options["username"])
        if folder:
            return propose_evaluator(task, folder, options["summary"], by)
        return propose_registered(task, options["evaluator_version"], options["summary"], by)
