"""`campaign`: start, follow, list or stop campaigns."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from deploy.cli import PawlCommand
from deploy.prepare import prepare
from deploy.services import Plan, Supervisor
from governance.desk.signin import sign_in
from governance.models import Task
from governance.rules import check_may_install
from loop import campaigns
from loop.agents.backends import default_profile, get_backend
from loop.contract import LEVERS, Budgets
from loop.follow import Ticker, follow, table
from loop.jobs import Housekeeping
from loop.models import Campaign


class Command(PawlCommand):
    """Run the loop on a task."""

    help = (
        "Start a campaign on an installed task and follow it; --list, --follow and --stop look after others."
    )
    example = "python3 manage.py campaign digits --generations 6 --seed 1 --as oscar"

    def add_arguments(self, parser: CommandParser) -> None:
        """The task, the contract's budgets and who acts."""
        parser.add_argument("task", nargs="?", help="slug of an installed task")
        parser.add_argument(
            "--profile", help="agent profile (default: claude when a key is set, else search)"
        )
        parser.add_argument("--seed", type=int, default=0, help="seed of the whole campaign (default 0)")
        parser.add_argument(
            "--levers", nargs="+", choices=LEVERS, default=list(LEVERS), help="levers it may pull"
        )
        defaults = Budgets()
        parser.add_argument("--generations", type=int, default=defaults.generations, help="most generations")
        parser.add_argument("--wall-s", type=float, default=defaults.wall_s, help="most seconds of work")
        parser.add_argument("--tokens", type=int, default=defaults.tokens, help="most tokens")
        parser.add_argument("--cost-usd", type=float, default=defaults.cost_usd, help="most US dollars")
        parser.add_argument(
            "--hidden-queries", type=int, default=defaults.hidden_queries, help="most hidden queries"
        )
        parser.add_argument(
            "--cache", action="store_true", help="answer repeated model calls on public-val from a cache"
        )
        parser.add_argument(
            "--as", dest="username", metavar="NAME", help="an operator (asks for the password)"
        )
        parser.add_argument("--detach", action="store_true", help="start it and leave the work to `serve`")
        parser.add_argument("--list", action="store_true", help="list campaigns")
        parser.add_argument("--follow", metavar="REF", help="follow a campaign that was started before")
        parser.add_argument("--stop", metavar="REF", help="stop a running campaign (needs --reason)")
        parser.add_argument("--reason", default="", help="why it is stopped")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do the one thing that was asked for."""
        prepare()
        if options["list"]:
            return self._list()
        if options["stop"]:
            return self._stop(options)
        campaign = _find(options["follow"]) if options["follow"] else self._start(options)
        if options["detach"]:
            return self.emit(
                {"campaign": campaign.ref}, f"Campaign {campaign.ref} waits for `manage.py serve`."
            )
        with Supervisor(Plan(reconcile=Housekeeping())):
            follow(campaign, Ticker(sys.stderr if self.as_json else sys.stdout))
        return self.emit(as_json(campaign), "\n" + table(campaign))

    def _start(self, options: dict[str, Any]) -> Campaign:
        if not options["task"]:
            raise CommandError("Name a task to run a campaign on; `manage.py tasks` lists them.")
        task = Task.objects.filter(slug=options["task"]).first()
        if task is None:
            raise CommandError(
                f"There is no task {options['task']!r}; `manage.py tasks` lists the installed ones."
            )
        by = sign_in(options["username"])
        check_may_install(by)
        profile = options["profile"] or default_profile()
        get_backend(profile)
        wish = campaigns.Wish(
            profile=profile,
            seed=options["seed"],
            levers=tuple(options["levers"]),
            cache_replies=options["cache"],
            budgets=Budgets(
                generations=options["generations"],
                wall_s=options["wall_s"],
                tokens=options["tokens"],
                cost_usd=options["cost_usd"],
                hidden_queries=options["hidden_queries"],
            ),
        )
        campaign = campaigns.start(task, wish, by)
        if not self.as_json:
            self.stdout.write(campaigns.promise(campaign))
        return campaign

    def _list(self) -> None:
        rows = [as_json(row) for row in Campaign.objects.order_by("-created_at")[:50]]
        lines = [
            f"{row['campaign'][:8]}  {row['task']:<16} {row['status']:<9} {row['reason']}" for row in rows
        ]
        self.emit({"campaigns": rows}, "\n".join(lines) or "There are no campaigns yet.")

    def _stop(self, options: dict[str, Any]) -> None:
        if len(options["reason"].strip()) < 10:
            raise CommandError("Give --reason with at least 10 characters; it is kept in the log.")
        by = sign_in(options["username"])
        check_may_install(by)
        campaign = _find(options["stop"])
        campaigns.stop(campaign, options["reason"].strip(), by)
        self.emit({"campaign": campaign.ref, "status": "stopped"}, f"Campaign {campaign.ref[:8]} is stopped.")


def _find(ref: str) -> Campaign:
    found = list(Campaign.objects.filter(ref__startswith=ref)[:2])
    if len(found) != 1:
        what = "more than one campaign begins" if found else "no campaign begins"
        raise CommandError(
            f"{what[:1].upper()}{what[1:]} with {ref!r}; `manage.py campaign --list` shows them."
        )
    return found[0]


def as_json(campaign: Campaign) -> dict[str, Any]:
    """A campaign with its generations as plain JSON."""
    return {
        "campaign": campaign.ref,
        "task": campaign.task.slug,
        "status": campaign.status,
        "reason": campaign.status_reason,
        "evaluator": campaign.epoch,
        "spent": campaign.spent,
        "generations": [
            {
                "number": row.number,
                "lever": row.lever,
                "score_before": row.score_before,
                "score_after": row.score_after,
                "verdict": row.verdict,
                "reason": row.reason,
                "cost_usd": row.cost_usd,
            }
            for row in campaign.generations.order_by("number")
        ],
    }
