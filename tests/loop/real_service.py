"""A real service with one task and one campaign, for tests that kill its processes.

Run as `python -m tests.loop.real_service`. `coins SEED` installs everything and starts a campaign on the harness,
`letters FOLDER` one on the weights (each prints its ref); `run REF` does its jobs without a queue and `archive REF`
only looks: both print what it accepted and trained. `serving -` installs `coins` without a campaign and prints a
read token.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import django

if TYPE_CHECKING:
    from governance.actors import Actor
    from governance.models import Task


def coins(seed: int, generations: int = 2) -> str:
    """Make the home, the people and a campaign on the harness of `coins`."""
    from tests.loop.conftest import COINS

    return _start(COINS, seed, ("harness",), generations)


def letters(folder: Path) -> str:
    """Make the home, the people and a campaign of one weight update on `letters`, written to `folder` first."""
    from tests.loop.letters_task import write_letters

    return _start(write_letters(folder), 3, ("weights",), 1)


def serving() -> str:
    """Make the home and the people, install `coins` and give a read token."""
    from governance import actions
    from governance.actors import SETUP
    from governance.audit.tokens import create_token
    from tests.loop.conftest import COINS

    _install(COINS)
    person = actions.create_person(username="ada", password="correct-horse-ada", by=SETUP)
    actions.grant_role(person=person, role="auditor", by=SETUP)
    return create_token(name="serving", by=person.actor("command"))


def _install(task_folder: Path) -> tuple[Task, Actor]:
    from deploy.prepare import prepare
    from governance import actions
    from governance.actors import SETUP
    from governance.audit.checkpoints import init_signer
    from loop.installation import install

    prepare()
    init_signer()
    actions.install_policy(by=SETUP)
    person = actions.create_person(username="oscar", password="correct-horse-oscar", by=SETUP)
    actions.grant_role(person=person, role="operator", by=SETUP)
    operator = person.actor("command")
    return install(task_folder, operator), operator


def _start(task_folder: Path, seed: int, levers: tuple[str, ...], generations: int) -> str:
    from loop.campaigns import Wish
    from loop.campaigns import start as start_campaign
    from loop.contract import Budgets
    from tests.loop.preflighted import hold_green

    task, operator = _install(task_folder)
    hold_green(task, operator)
    wish = Wish("search", seed, levers, Budgets(generations=generations))
    return start_campaign(task, wish, operator).ref


def next_act(ref: str) -> tuple[str, Callable[[], object]] | None:
    """What the database says is due, as a worker does it, under a name; None when the campaign has ended."""
    from loop import campaigns, jobs, training_work, verification
    from loop.advance import advance_once
    from loop.models import Campaign

    due = jobs.due()
    if not due:
        return None
    _, function, key = due[-1]
    if function == "verify":
        return "verify", lambda: verification.verify(int(key))
    if function == "train":
        return "train", lambda: training_work.train(int(key))
    campaign = Campaign.objects.get(ref=ref)
    act = campaigns.next_act(campaign)
    name = act.generation.step if act.generation is not None else act.act.value
    return f"{name} {campaign.generations.count() - 1}", lambda: advance_once(campaign)


def run(ref: str) -> str:
    """Do the campaign's jobs in this process, one after the other, to its end."""
    while (due := next_act(ref)) is not None:
        due[1]()
    return archive(ref)


def archive(ref: str) -> str:
    """The campaign's end, its archive, its adapters and what it spent as JSON."""
    from governance.assurance.verify import live_differences
    from loop.models import ArchiveEntry, Campaign, HiddenQuery, TrainingJob

    campaign = Campaign.objects.get(ref=ref)
    rows = ArchiveEntry.objects.filter(campaign=campaign).order_by("generation__number", "pk")
    kept = [(row.generation.number, row.release.digest, row.score) for row in rows]
    proposals = [query.proposal.status for query in HiddenQuery.objects.filter(campaign=campaign)]
    jobs = [
        {
            "status": job.status,
            "reason": job.reason,
            "adapter": job.adapter.digest if job.adapter else None,
            "hyper": job.spec.get("hyper"),
            "decided": job.generation.decision["hyper"],
            "steps": [row["step"] for row in job.metrics],
        }
        for job in TrainingJob.objects.filter(generation__campaign=campaign)
    ]
    return json.dumps(
        {
            "status": campaign.status,
            "reasons": list(campaign.generations.order_by("number").values_list("reason", flat=True)),
            "archive": kept,
            "proposals": proposals,
            "jobs": jobs,
            "tokens": campaign.spent["tokens"],
            "log differs": live_differences(),
        }
    )


if __name__ == "__main__":
    django.setup()
    order, argument = sys.argv[1:]
    if order == "coins":
        print(coins(int(argument)))
    elif order == "serving":
        print(serving())
    elif order == "letters":
        print(letters(Path(argument)))
    else:
        print({"run": run, "archive": archive}[order](argument))
