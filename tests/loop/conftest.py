"""A service with the task `coins` installed, and its people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from pytest_django import Settings

from deploy.home import REPO
from governance import actions
from governance.actors import SETUP, Actor
from governance.audit.checkpoints import init_signer
from governance.models import Task
from loop import verification
from loop.advance import Queued, advance_once
from loop.campaigns import Wish, start
from loop.contract import Budgets
from loop.installation import install
from loop.models import Campaign
from tests.loop.preflighted import hold_green
from tests.snapshot import remembered

COINS = REPO / "tests" / "fixtures" / "coins"


@dataclass(frozen=True)
class Service:
    """An installed task and the people around it."""

    task: Task
    operator: Actor
    reviewers: tuple[Actor, Actor]

    def campaign(self, generations: int = 2, seed: int = 6, **budgets: float) -> Campaign:
        """A campaign of the search backend on the harness lever."""
        wish = Wish("search", seed, ("harness",), Budgets(generations=generations, **budgets))  # type: ignore[arg-type]
        return start(self.task, wish, self.operator)

    def run(self, campaign: Campaign) -> Campaign:
        """Do the campaign's jobs in this process until nothing is queued."""
        self.verify(campaign, self.advance(campaign))
        campaign.refresh_from_db()
        return campaign

    def advance(self, campaign: Campaign) -> list[Queued]:
        """Do the loop worker's jobs until another worker's turn has come; returns that worker's jobs."""
        queue: list[Queued] = [("loop", "advance", campaign.ref)]
        while queue and queue[0][1] == "advance":
            queue += advance_once(Campaign.objects.get(ref=queue.pop(0)[2]))
        return queue

    def verify(self, campaign: Campaign, queue: list[Queued]) -> None:
        """Do the verifier's jobs, and what the loop has to do after them."""
        for _, function, key in queue:
            assert function == "verify"
            verification.verify(int(key))
        self.advance(campaign)


def _person(name: str, role: str) -> Actor:
    person = actions.create_person(username=name, password=f"correct-horse-{name}", by=SETUP)
    actions.grant_role(person=person, role=role, by=SETUP)
    return person.actor("command")


@pytest.fixture
def service(
    transactional_db: None, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Service:
    """A fresh data home with `coins` installed by an operator."""
    home = tmp_path / "home"
    monkeypatch.setenv("PAWL_HOME", str(home))
    settings.PAWL_HOME = home
    return remembered("coins", home, _installed)


def _installed() -> Service:
    init_signer()
    actions.install_policy(by=SETUP)
    operator = _person("oscar", "operator")
    reviewers = (_person("rita", "reviewer"), _person("ravi", "reviewer"))
    task = install(COINS, operator)
    hold_green(task, operator)
    return Service(task, operator, reviewers)
