"""A model that cannot be reached is no result: what it used is charged, and nothing is learned from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from loop.advance import advance_once
from loop.models import Campaign, Generation, Rollout
from tests.loop.conftest import Service
from tests.loop.fake_providers import Drop, FakeProvider, Fault, Say, fake_provider
from tests.loop.served_coins import CALLS, install_served

TOKENS = 15  # of one answered call
GONE = Fault(401)  # an outage that is not worth another try, so that no test waits


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with fake_provider() as made:
        yield made


@pytest.fixture
def served(service: Service, tmp_path: Path, provider: FakeProvider) -> Service:
    return install_served(service, tmp_path / "served", provider)


def test_an_outage_in_a_rollout_charges_the_calls_before_it_and_the_reserve_of_a_broken_one(
    served: Service, provider: FakeProvider
) -> None:
    provider.plan(Say("ok"), Drop(mid_body=True))
    provider.default = GONE
    campaign = served.campaign(generations=1)
    served.advance(campaign)
    campaign.refresh_from_db()
    asked = [seen.body for seen in provider.seen]
    assert len(asked) == CALLS + 1 and asked[1] == asked[2] != asked[0]
    reserve = len(json.dumps(asked[1], ensure_ascii=False).encode()) + 256 + asked[1]["max_tokens"]
    assert campaign.spent["tokens"] == TOKENS + reserve
    assert "2 of 3 model calls failed" in campaign.status_reason
    assert (campaign.status, Rollout.objects.count()) == (Campaign.Status.FAILED, 0)


def test_a_model_that_stays_away_ends_the_campaign_after_three_generations(
    served: Service, provider: FakeProvider
) -> None:
    campaign = served.campaign(generations=6)
    while campaign.generations.filter(step=Generation.Step.DONE).count() < 1:
        advance_once(campaign)
    provider.default = GONE
    assert served.advance(campaign) == []
    campaign.refresh_from_db()
    verdicts = list(campaign.generations.order_by("number").values_list("verdict", flat=True))
    assert verdicts == ["baseline", "failed", "failed", "failed"]
    assert "3 generations in a row failed" in campaign.status_reason
    assert campaign.spent["tokens"] == TOKENS * CALLS
