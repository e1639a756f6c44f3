"""`verify`: have the verifier measure a release on the hidden set, outside of a campaign."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from django.core.management.base import CommandError, CommandParser

from deploy.cli import PawlCommand
from deploy.prepare import prepare
from deploy.services import Plan, Supervisor
from governance.desk.finding import release_by_prefix
from governance.desk.signin import sign_in
from governance.pointers import evaluator_in_force
from governance.rules import halt_over
from loop.asked import ask
from loop.follow import POLL_S, Ticker
from loop.jobs import Housekeeping
from loop.ledger import hidden_budget
from loop.models import Verification

ENDED = (Verification.Status.FINISHED, Verification.Status.FAILED, Verification.Status.OUTAGE)


class Command(PawlCommand):
    """Measure one release."""

    help = "Have the verifier measure a release on the hidden set against what is live, and propose it."
    example = "python3 manage.py verify 3f9c2a71be04 --as oscar"

    def add_arguments(self, parser: CommandParser) -> None:
        """Which release, and who asks."""
        parser.add_argument("release", help="the first characters of its digest (a task's page lists them)")
        parser.add_argument("--seed", type=int, default=0, help="seed of both arms (default 0)")
        parser.add_argument(
            "--as", dest="username", metavar="NAME", help="an operator (asks for the password)"
        )
        parser.add_argument("--detach", action="store_true", help="ask and leave the work to `serve`")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask, and show the work to its end."""
        prepare()
        by = sign_in(options["username"])
        ticker = Ticker(sys.stderr if self.as_json else sys.stdout)
        row = ask(release_by_prefix(options["release"]), options["seed"], by, ticker.line)
        if options["detach"]:
            told = {"proposal": row.query.proposal.ref, "status": row.status}
            return self.emit(told, f"Proposal {row.query.proposal.ref} waits for `manage.py serve`.")
        ticker.line("the verifier runs both releases on the hidden set")
        with Supervisor(Plan(reconcile=Housekeeping())):
            wait_for(row, ticker)
        self.emit(as_json(row), words(row))
        if row.status != Verification.Status.FINISHED:
            raise CommandError(f"The release was not measured: {as_json(row)['reason']}")


def wait_for(row: Verification, ticker: Ticker) -> None:
    """Wait until the verifier is done; the row is up to date then."""
    while row.status not in ENDED:
        if halt_over(row.task_slug) is not None:
            ticker.live("stopped by a person; two people can resume it (manage.py resume)")
        elif row.status == Verification.Status.WAITING:
            ticker.live(f"the task model is away; the verifier tries again at {row.retry_at:%H:%M:%S} UTC")
        time.sleep(POLL_S)
        row.refresh_from_db()
    row.query.proposal.refresh_from_db()


def as_json(row: Verification) -> dict[str, Any]:
    """The outcome: what was compared, the aggregates that people may see, and what is left of the hidden set."""
    query, proposal = row.query, row.query.proposal
    found = proposal.evidence.filter(name="comparison").first()
    budget = hidden_budget(evaluator_in_force(query.campaign.task))
    return {
        "release": query.release.digest,
        "against": query.against.digest,
        "task": query.campaign.task.slug,
        "proposal": proposal.ref,
        "status": proposal.status,
        "passed": row.bit if row.status == Verification.Status.FINISHED else None,
        "reason": row.reason or proposal.status_reason,
        "comparison": json.loads(found.data()) if found else None,
        "ledger": {"place": query.place, "used": budget.used, "allowed": budget.allowed},
    }


def words(row: Verification) -> str:
    """The outcome in words."""
    told = as_json(row)
    new, old, ledger = told["release"][:12], told["against"][:12], told["ledger"]
    spent = f"This was query {ledger['place']} of {ledger['allowed']} on this hidden set."
    compared = told["comparison"]
    if compared is None:
        return f"Release {new} has no hidden result. {spent}"
    low, high = compared["interval"]
    verdict = (
        f"Release {new} passed; proposal {told['proposal'][:8]} waits for review."
        if told["passed"]
        else f"Release {new} did not pass (proposal {told['proposal'][:8]}): {told['reason']}"
    )
    return (
        f"{verdict}\n{compared['metric']} on {compared['n']} hidden items: {compared['score_before']:.3f} "
        f"({old}, live) -> {compared['score_after']:.3f}, a difference of {compared['difference']:+.3f} "
        f"({low:+.3f} to {high:+.3f}). {spent}"
    )
