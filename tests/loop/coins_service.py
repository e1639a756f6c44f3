"""A real service on the task `coins`, for tests that kill its processes: run as `python -m tests.loop.coins_service`.

`start SEED` installs everything and starts a campaign (prints its ref); `archive REF` prints what it accepted.
"""

from __future__ import annotations

import json
import sys

import django


def start(seed: int, generations: int = 4) -> str:
    """Make the home, the people and the campaign."""
    from deploy.prepare import prepare
    from governance import actions
    from governance.actors import SETUP
    from governance.audit.checkpoints import init_signer
    from loop.campaigns import Wish
    from loop.campaigns import start as start_campaign
    from loop.contract import Budgets
    from loop.installation import install
    from tests.loop.conftest import COINS

    prepare()
    init_signer()
    actions.install_policy(by=SETUP)
    person = actions.create_person(username="oscar", password="correct-horse-oscar", by=SETUP)
    actions.grant_role(person=person, role="operator", by=SETUP)
    operator = person.actor("command")
    task = install(COINS, operator)
    return start_campaign(task, Wish("search", seed, ("harness",), Budgets(generations=generations)), operator).ref


def archive(ref: str) -> str:
    """The campaign's end and its archive as JSON."""
    from loop.models import ArchiveEntry, Campaign, HiddenQuery

    campaign = Campaign.objects.get(ref=ref)
    rows = ArchiveEntry.objects.filter(campaign=campaign).order_by("generation__number", "pk")
    kept = [(row.generation.number, row.release.digest, row.score) for row in rows]
    proposals = [query.proposal.status for query in HiddenQuery.objects.filter(campaign=campaign)]
    return json.dumps({"status": campaign.status, "archive": kept, "proposals": proposals})


if __name__ == "__main__":
    django.setup()
    print(start(int(sys.argv[2])) if sys.argv[1] == "start" else archive(sys.argv[2]))
