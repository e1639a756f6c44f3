"""What a campaign on the task `letters` counts, and the settings that it shows for a weight update."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from loop import advance
from loop.campaigns import Wish, start
from loop.contract import Budgets
from loop.installation import install
from loop.leases import take
from loop.models import Campaign, Generation, Rollout
from loop.rollouts import PUBLIC_VAL
from loop.serving.manager import stop_servers
from tests.loop.conftest import Service
from tests.loop.letters_task import ANSWER_TOKENS, TRAINING, write_letters
from tests.loop.preflighted import hold_green

pytestmark = pytest.mark.one_database


@pytest.fixture
def letters(service: Service, tmp_path: Path) -> Iterator[Service]:
    """A service with the task `letters` in place of `coins`."""
    task = install(write_letters(tmp_path / "task"), service.operator)
    hold_green(task, service.operator)
    yield Service(task, service.operator, service.reviewers)
    stop_servers(Path(settings.PAWL_HOME) / "run")


def test_a_rollout_is_counted_once_although_its_worker_died_before_the_step_was_committed(
    letters: Service,
) -> None:
    wish = Wish("search", 1, ("harness",), Budgets(generations=0))
    campaign = start(letters.task, wish, letters.operator)
    advance.advance_once(campaign)
    lease = take(Campaign, campaign.pk)
    assert lease is not None
    turn = advance._turn(campaign, campaign.generations.get(), lease)
    turn.roll_out(campaign.base_release, PUBLIC_VAL)  # and here the worker dies
    Campaign.objects.filter(pk=campaign.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    letters.advance(campaign)
    campaign.refresh_from_db()
    assert campaign.status == Campaign.Status.FINISHED
    assert campaign.spent["tokens"] == Rollout.objects.get().usage["tokens"] > 0


@pytest.mark.train
def test_the_decision_shows_the_settings_that_the_task_and_the_harness_fix(letters: Service) -> None:
    campaign = start(letters.task, Wish("search", 1, ("weights",), Budgets(generations=1)), letters.operator)
    letters.advance(campaign)
    row = Generation.objects.get(campaign=campaign, number=1)
    assert row.step == Generation.Step.TRAIN
    assert row.decision["hyper"].items() >= {**TRAINING, "max_completion": ANSWER_TOKENS}.items()
