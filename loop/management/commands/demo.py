"""`demo`: one governed campaign on real data, from nothing to a proposal that waits for review."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from deploy import home
from deploy.cli import PawlCommand
from deploy.prepare import prepare
from deploy.services import Plan, Supervisor
from governance.assurance.bundle import OK
from governance.assurance.bundle_files import render
from governance.models import Proposal, Task
from governance.transitions import DECIDABLE
from loop import campaigns
from loop.contract import LEVERS, Budgets
from loop.demonstration import (
    Cast,
    auto_review,
    check_demo,
    export_and_verify,
    make_cast,
    password_of,
    revert_and_restore,
)
from loop.follow import Ticker, follow, table
from loop.installation import install
from loop.jobs import Housekeeping
from loop.management.commands.campaign import as_json
from loop.models import Campaign, HiddenQuery
from loop.preflights import hold_preflight
from loop.sandbox import get_backend
from loop.training.features import training_available

TASK = "digits"
GENERATIONS = 5


class Command(PawlCommand):
    """The whole circle on scikit-learn's scans of handwritten digits."""

    help = (
        "Run one governed campaign on real data with both levers; it ends with a proposal waiting for review."
    )
    example = "python3 manage.py demo --auto-review"

    def add_arguments(self, parser: CommandParser) -> None:
        """What to leave out or add."""
        parser.add_argument(
            "--harness-only", action="store_true", help="pull the harness lever only; needs no torch"
        )
        parser.add_argument(
            "--auto-review",
            action="store_true",
            help="demonstration reviewers approve; then promote, revert, export and verify (demo data only)",
        )
        parser.add_argument("--generations", type=int, default=GENERATIONS, help=f"default {GENERATIONS}")
        parser.add_argument(
            "--seed", type=int, help="seed of the campaign (default: how many there were before)"
        )
        parser.add_argument(
            "--profile", default="search", help="agent profile (default search: no key needed)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Set up, run, tell."""
        prepare(demo=True)
        check_demo()
        get_backend()
        self._ticker = Ticker(sys.stderr if self.as_json else sys.stdout)
        levers = self._levers(options["harness_only"])
        cast = make_cast()
        task = self._task(cast)
        self._preflight(task, cast)
        with Supervisor(Plan(reconcile=Housekeeping())):
            campaign = follow(self._campaign(task, cast, levers, options), self._ticker)
        proposal = self._proposal(campaign)
        bundle = None
        if options["auto_review"] and proposal is not None:
            bundle = self._circle(task, proposal, cast)
        self._close(campaign, proposal, cast, bundle)

    def _levers(self, harness_only: bool) -> tuple[str, ...]:
        if harness_only:
            return LEVERS[:1]
        available, remedy = training_available()
        if not available:
            raise CommandError(f"{remedy} Or run `python3 manage.py demo --harness-only`.")
        return LEVERS

    def _task(self, cast: Cast) -> Task:
        known = Task.objects.filter(slug=TASK).first()
        if known is not None:
            return known
        self._ticker.line(
            "Preparing digits: 1,797 scans in four splits, and a tiny base model trained on one of them"
        )
        return install(Path(settings.REPO) / "tasks" / TASK, cast.people["demo-operator"])

    def _preflight(self, task: Task, cast: Cast) -> None:
        self._ticker.line(
            f"Preflight of {task.slug}: no campaign starts on a task whose cheats are not refused"
        )
        done = hold_preflight(
            task, cast.people["demo-operator"], lambda check: self._ticker.live(check.line())
        )
        self._ticker.line(f"Preflight {done.ref[:8]} is green: {len(done.checks)} checks passed")

    def _campaign(self, task: Task, cast: Cast, levers: tuple[str, ...], options: dict[str, Any]) -> Campaign:
        running = Campaign.objects.filter(task=task, status=Campaign.Status.RUNNING).first()
        if running is not None:
            self._ticker.line(f"Going on with campaign {running.ref[:8]}, which was interrupted")
            return running
        seed = options["seed"] if options["seed"] is not None else Campaign.objects.filter(task=task).count()
        wish = campaigns.Wish(
            profile=options["profile"],
            seed=seed,
            levers=levers,
            budgets=Budgets(generations=options["generations"]),
        )
        campaign = campaigns.start(task, wish, cast.people["demo-operator"])
        self._ticker.line(campaigns.promise(campaign))
        return campaign

    def _proposal(self, campaign: Campaign) -> Proposal | None:
        query = HiddenQuery.objects.filter(campaign=campaign).select_related("proposal").first()
        if query is None or query.proposal.status not in DECIDABLE:
            return None
        return query.proposal

    def _circle(self, task: Task, proposal: Proposal, cast: Cast) -> Path:
        say = self._ticker.line
        say("Demonstration reviewers approve, and the operator promotes")
        auto_review(proposal, cast)
        say(f"Live: release {proposal.target[:12]} (proposal {proposal.ref[:8]})")
        gone, back = revert_and_restore(task, cast)
        say(f"Reverted from {gone[:12]} to {back[:12]}, in one action; the revert was reviewed afterwards")
        dest = home.home() / "exports" / f"audit-{timezone.now():%Y%m%d-%H%M%S}"
        report = export_and_verify(task, cast, dest)
        for line in render(report).splitlines():
            say(f"  {line}")
        if report.status != OK:
            raise CommandError(f"The exported log at {dest} does not verify: {report.problem}")
        return dest

    def _close(self, campaign: Campaign, proposal: Proposal | None, cast: Cast, bundle: Path | None) -> None:
        seconds = time.monotonic() - self._ticker.started
        data = as_json(campaign) | {
            "proposal": proposal.ref if proposal else None,
            "bundle": str(bundle) if bundle else None,
            "seconds": seconds,
        }
        lines = ["", table(campaign), ""]
        if bundle is not None:
            lines.append(
                f"The exported log is at {bundle}; check it yourself: python3 {bundle / 'verify.py'}"
            )
        elif proposal is not None:
            lines.append(f"Proposal {proposal.ref[:8]} waits for review: {proposal.title}.")
        else:
            lines.append(f"No proposal came of this campaign. {campaign.status_reason}")
        name = "demo-reviewer-1"
        lines.append(
            "Open the desk with `python3 manage.py serve` and sign in at http://127.0.0.1:8000/ as "
            f"{name} with the password {password_of(cast, name)} (the others' are in {cast.passwords})."
        )
        self.emit(data, "\n".join(lines))
