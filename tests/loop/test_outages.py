"""A model that cannot be reached is no result: what it used is charged, and nothing is learned from it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from governance import actions
from governance.actors import SETUP
from governance.models import AuditEntry, Person
from loop import campaigns
from loop.advance import advance_once
from loop.campaigns import next_act
from loop.errors import Fenced
from loop.installed import open_task
from loop.jobs import due
from loop.leases import take
from loop.ledger import hidden_budget
from loop.models import Campaign, Generation, HiddenQuery, Rollout, Verification
from loop.outages import void_try, words
from loop.verification import verify
from tests.loop.conftest import Service
from tests.loop.fake_providers import Drop, FakeProvider, Fault, Say, fake_provider
from tests.loop.served_coins import CALLS, install_served

pytestmark = pytest.mark.one_database

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


def submitted(served: Service) -> tuple[Campaign, int]:
    """A campaign that waits for its hidden test, and the key of that."""
    campaign = served.campaign(generations=3)
    ((_, _, key),) = served.advance(campaign)
    return campaign, int(key)


def come(pk: int) -> None:
    """Let the time of the next try come."""
    Verification.objects.filter(pk=pk).update(retry_at=timezone.now() - timedelta(seconds=1))


def lose(pk: int) -> None:
    """A worker that lost the hidden test to another puts nothing off."""
    lease = take(Verification, pk)
    assert lease is not None
    Verification.objects.filter(pk=pk).update(fence=lease.fence + 1, lease_until=None)
    with pytest.raises(Fenced, match="taken over"):
        void_try(Verification.objects.get(pk=pk), lease, timezone.now())
    row = Verification.objects.get(pk=pk)
    assert (row.status, row.outages, entries("hidden.put_off")) == ("queued", 0, [])


def entries(action: str) -> list[dict[str, Any]]:
    return [row.entry() for row in AuditEntry.objects.filter(action=action).order_by("seq")]


def told(campaign: Campaign) -> str:
    """What the campaign's page and the strip of running ones say, without tags."""
    client = Client(headers={"host": "localhost"})
    client.force_login(Person.objects.get(user__username="oscar").user)
    pages = [
        client.get(address).content.decode()
        for address in (f"/campaigns/{campaign.ref}/", "/campaigns/running/")
    ]
    return re.sub(r"<[^>]+>", " ", " ".join(pages))


def test_a_hidden_test_that_an_outage_voided_waits_and_then_ends_as_if_nothing_had_happened(
    served: Service, provider: FakeProvider
) -> None:
    campaign, pk = submitted(served)
    before = Campaign.objects.get(pk=campaign.pk).spent["tokens"]
    provider.plan(*[Say("ok")] * CALLS, Say("ok"))
    provider.default = GONE
    assert verify(pk) is False
    row = Verification.objects.get(pk=pk)
    assert (row.status, row.bit, row.outages, row.query.proposal.status) == ("waiting", None, 1, "verifying")
    assert row.retry_at is not None and 50 < (row.retry_at - timezone.now()).total_seconds() <= 60
    assert Campaign.objects.get(pk=campaign.pk).spent["tokens"] == before + (CALLS + 1) * TOKENS
    assert ("verify", "verify", pk) not in due() and verify(pk) is False and len(entries("hidden.read")) == 1
    assert next_act(campaign).reason == words(row) and told(campaign).count(words(row)) == 2
    (put_off,) = entries("hidden.put_off")
    assert (put_off["detail"]["tries"], put_off["reason"]) == (1, words(row))
    provider.default = Say("ok")
    come(pk)
    assert ("verify", "verify", pk) in due() and verify(pk) is True
    row.refresh_from_db()
    assert row.query.proposal.status == "ready", row.query.proposal.status_reason
    assert (row.status, row.bit) == ("finished", True)
    ledger = json.loads(row.query.proposal.evidence.get(name="ledger").data())
    assert (ledger["tries_voided"], ledger["epoch_used"], ledger["epoch_lost"]) == (1, 1, 0)
    cost = json.loads(row.query.proposal.evidence.get(name="cost").data())
    assert cost["tokens"] == before + (CALLS + 1 + 3 * CALLS) * TOKENS


def test_after_five_tries_the_hidden_test_ends_as_an_outage_that_answered_nothing(
    served: Service, provider: FakeProvider
) -> None:
    campaign, pk = submitted(served)
    provider.default = GONE
    lose(pk)
    waits = []
    while not verify(pk):
        lease = take(Verification, pk)  # and every time another worker took it and died
        assert lease is not None
        Verification.objects.filter(pk=pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        row = Verification.objects.get(pk=pk)
        assert row.retry_at is not None
        waits.append(round((row.retry_at - timezone.now()).total_seconds() / 60))
        come(pk)
    row = Verification.objects.get(pk=pk)
    assert waits == [1, 4, 15, 60]
    assert (row.status, row.bit, row.outages, row.retry_at) == ("outage", None, 5, None)
    assert verify(pk) is True and len(entries("hidden.read")) == 5
    assert (row.query.proposal.status, row.query.proposal.evidence.count()) == ("failed", 0)
    assert row.query.proposal.status_reason == row.reason == entries("hidden.given_up")[0]["reason"]
    assert "no result and no bit" in row.reason
    served.advance(campaign)
    campaign.refresh_from_db()
    assert campaign.status == Campaign.Status.FAILED and row.reason in campaign.status_reason
    assert "none: the model was out of reach" in told(campaign)
    budget = hidden_budget(open_task(served.task).evaluator)
    assert (budget.used, budget.lost, budget.next_place) == (0, 1, 2)
    provider.default = Say("ok")
    _, again = submitted(served)
    query = HiddenQuery.objects.get(verification=again)
    assert (query.place, query.verification.bit) == (2, None)


@pytest.mark.parametrize("how", ["the switch", "the campaign"])
def test_a_stop_ends_a_hidden_test_that_waits(served: Service, provider: FakeProvider, how: str) -> None:
    campaign, pk = submitted(served)
    provider.default = GONE
    assert verify(pk) is False
    come(pk)
    asked = len(provider.seen)
    if how == "the campaign":
        campaigns.stop(campaign, "The provider is down for the week.", served.operator)
    else:
        actions.stop(scope="", reason="Something looks wrong tonight.", by=served.operator)
        assert verify(pk) is False
        for name in ("otis", "olga"):
            person = actions.create_person(username=name, password=f"correct-horse-{name}", by=SETUP)
            actions.grant_role(person=person, role="operator", by=SETUP)
            actions.resume(scope="", reason="It was looked at and is right.", by=person.actor("command"))
    assert verify(pk) is True
    row = Verification.objects.get(pk=pk)
    assert (row.status, row.retry_at, len(provider.seen)) == ("failed", None, asked)
    assert row.query.proposal.status == ("failed" if how == "the campaign" else "quarantined")
