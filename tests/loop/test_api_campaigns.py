"""Campaigns started over HTTP: by a token of an operator's, once for each key, refused as at the command line."""

from __future__ import annotations

import json
import threading
from typing import Any

import httpx
import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from governance import actions
from governance.actors import SETUP, Actor
from governance.assurance.verify import live_differences
from governance.audit.campaign_tokens import create_campaign_token, revoke_campaign_token, starter
from governance.audit.tokens import create_token, reader
from governance.errors import NotAllowed
from governance.models import AuditEntry, CampaignToken, Proposal
from governance.people import person_named
from loop.models import Campaign, Preflight
from tests.loop.conftest import Service
from tests.loop.test_gate_service import allow
from tests.loop.test_stop import waiting

pytestmark = pytest.mark.one_database

PATH = "/api/v1/campaigns"
KEY = "nightly-2026-05-01"
ASKED = {"task": "coins", "profile": "search", "levers": ["harness"], "generations": 2, "seed": 3}
WHY = "Something looks wrong tonight."


@pytest.fixture
def token(service: Service) -> str:
    """A campaign token of the operator's."""
    return create_campaign_token(name="nightly", days=30, by=service.operator)


def post(client: Client, token: str, body: Any = ASKED, key: str = KEY, **headers: str) -> tuple[int, Any]:
    """Status and JSON."""
    sent = {"Authorization": f"Bearer {token}", "Idempotency-Key": key, **headers}
    data = body if isinstance(body, str) else json.dumps(body)
    answer = client.post(PATH, data, content_type="application/json", headers=sent)
    return answer.status_code, answer.json()


def test_a_token_starts_one_campaign_however_often_it_is_asked(
    service: Service, token: str, client: Client
) -> None:
    status, told = post(client, token)
    assert (status, told["task"], told["status"]) == (201, "coins", "running")
    campaign = Campaign.objects.get()
    assert (campaign.ref, campaign.contract_digest) == (told["campaign"], told["contract_digest"])
    assert campaign.contract["budgets"]["generations"] == 2 and campaign.seed == 3
    assert campaign.started_by == service.operator.ref
    (entry,) = [row.entry() for row in AuditEntry.objects.filter(action="campaign.start")]
    assert entry["actor"] == {"kind": "system", "ref": "token:nightly", "auth": "token"}
    assert (entry["on_behalf_of"], entry["outcome"]) == (service.operator.ref, "allowed")
    assert post(client, token) == (200, told)
    status, why = post(client, token, {**ASKED, "seed": 4})
    assert status == 409 and "started another campaign" in why["error"]
    status, why = post(client, token, key="another-key")
    assert status == 409 and "already running" in why["error"]
    assert Campaign.objects.count() == 1
    queue = service.advance(campaign)
    service.verify(campaign, queue)
    proposal = Proposal.objects.get()
    assert service.operator.ref in proposal.excluded, "the token's person does not count towards the approval"
    assert live_differences() == []
    allow(1)
    status, why = post(client, token, key="another-key")
    assert status == 409 and "answered 1 queries and the policy allows 1" in why["error"]


def test_two_retries_at_once_start_one_campaign(
    service: Service, token: str, live_server: LiveServer
) -> None:
    told: list[tuple[int, str]] = []
    barrier = threading.Barrier(2)

    def ask() -> None:
        barrier.wait(30)
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": KEY}
        answer = httpx.post(live_server.url + PATH, json=ASKED, headers=headers, timeout=60)
        told.append((answer.status_code, answer.json().get("campaign", answer.text)))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ref = Campaign.objects.get().ref
    assert sorted(told) == [(200, ref), (201, ref)]


def test_whatever_the_command_is_refused_for_is_refused_in_one_sentence(
    service: Service, token: str, client: Client
) -> None:
    def refused(sentence: str, body: Any = ASKED) -> None:
        for _ in range(2):
            status, told = post(client, token, body)
            assert status == 409 and sentence in told["error"], told
        assert not Campaign.objects.exists()

    refused("allows 10 hidden queries", {**ASKED, "hidden_queries": 11})
    Preflight.objects.update(green=False)
    refused("its last preflight was red")
    Preflight.objects.all().delete()
    refused("without a preflight")
    waiting(service, 21)
    refused("21 proposals wait for people")
    actions.stop(scope="coins", reason=WHY, by=service.operator)
    refused("The task coins was stopped")
    rows = [row.entry() for row in AuditEntry.objects.filter(action="campaign.start").order_by("seq")]
    assert len(rows) == 5, "one entry for each reason, however often it is tried"
    assert {(row["outcome"], row["on_behalf_of"]) for row in rows} == {("denied", service.operator.ref)}


BAD: list[tuple[Any, str]] = [
    ("{", "not JSON"),
    ("[" * 100_000, "larger than"),
    ("[" * 60_000, "not JSON"),
    ([], "a JSON object with the `task`"),
    ({"task": 1}, "a JSON object with the `task`"),
    ({**ASKED, "budget": 1}, "'budget' is no field"),
    ({**ASKED, "profile": 1}, "`profile`"),
    ({**ASKED, "profile": "nobody"}, "nobody"),
    ({**ASKED, "seed": -1}, "`seed`"),
    ({**ASKED, "seed": True}, "`seed`"),
    ({**ASKED, "levers": []}, "`levers`"),
    ({**ASKED, "levers": ["evaluator"]}, "`levers`"),
    ({**ASKED, "levers": "harness"}, "`levers`"),
    ({**ASKED, "cache": 1}, "`cache`"),
    ({**ASKED, "generations": 1.5}, "`generations` is a whole number"),
    ({**ASKED, "cost_usd": 0}, "`cost_usd` is a number above 0"),
    ({**ASKED, "wall_s": True}, "`wall_s`"),
]


@pytest.mark.parametrize(("body", "sentence"), BAD)
def test_a_malformed_request_is_told_what_is_wrong(
    world_token: str, client: Client, body: Any, sentence: str
) -> None:
    status, told = post(client, world_token, body)
    assert status == 400 and sentence in told["error"]
    assert not Campaign.objects.exists()


@pytest.fixture
def world_token(db: None) -> str:
    """A campaign token where nothing is installed."""
    actions.install_policy(by=SETUP)
    return create_campaign_token(name="nightly", days=1, by=operator_named("oscar"))


def operator_named(name: str) -> Actor:
    """A new operator."""
    person = actions.create_person(username=name, password=f"correct-horse-{name}", by=SETUP)
    actions.grant_role(person=person, role="operator", by=SETUP)
    return person.actor("command")


def test_who_asks_and_how_is_checked_first(world_token: str, client: Client) -> None:
    assert post(client, world_token, {**ASKED, "task": "nothing"})[0] == 404
    for key in ("", "short", "x" * 101, "tab\tinside", "é" * 10):
        status, told = post(client, world_token, key=key)
        assert status == 400 and "Idempotency-Key" in told["error"]
    assert post(client, world_token + "x")[0] == 401
    assert post(client, world_token, Authorization=f"Basic {world_token}")[0] == 401
    assert client.get(PATH).status_code == 405
    client.force_login(person_named("oscar").user)
    assert client.post(PATH, json.dumps(ASKED), content_type="application/json").status_code == 401


def test_a_token_that_expired_is_refused_and_one_that_was_revoked_is_unknown(
    world_token: str, client: Client
) -> None:
    CampaignToken.objects.update(expires_at=timezone.now())
    status, told = post(client, world_token)
    assert status == 403 and "expired on" in told["error"]
    revoke_campaign_token(name="nightly", by=operator_named("otis"))
    status, told = post(client, world_token)
    assert status == 401 and "in use" in told["error"]


def test_tokens_of_one_kind_are_none_of_the_other_and_decide_nothing(
    service: Service, token: str, client: Client
) -> None:
    auditor = actions.create_person(username="ada", password="correct-horse-ada", by=SETUP)
    actions.grant_role(person=auditor, role="auditor", by=SETUP)
    reading = create_token(name="siem", by=auditor.actor("command"))
    assert post(client, reading)[0] == 401
    assert reader(token) is None and starter(reading, timezone.now()) is None
    bearer = {"Authorization": f"Bearer {token}"}
    for path in (
        "/api/v1/audit/entries",
        "/api/v1/tasks/coins/live",
        f"/api/v1/tasks/coins/lease?nonce={'0' * 32}",
    ):
        assert client.get(path, headers=bearer).status_code == 401
    waiting(service, 2)
    ready, approved = Proposal.objects.order_by("pk")
    Proposal.objects.filter(pk=approved.pk).update(status="approved")
    approved.refresh_from_db()
    answer = client.post(
        f"/proposals/{ready.ref}/act/", {"act": "approve", "reason": WHY, "password": "x"}, headers=bearer
    )
    assert answer.status_code == 302 and "/login/" in answer.headers["Location"]
    known = starter(token, timezone.now())
    assert known is not None
    by, person = known
    for actor, sentence in ((by, "Only a person"), (person.actor("token"), "a token alone is not enough")):
        with pytest.raises(NotAllowed, match=sentence):
            actions.review(
                proposal=ready, verdict="approve", reason=WHY, subject_digest=ready.subject_digest, by=actor
            )
        with pytest.raises(NotAllowed, match=sentence):
            actions.promote(proposal=approved, reason=WHY, by=actor)
        with pytest.raises(NotAllowed, match=sentence):
            actions.stop(scope="", reason=WHY, by=actor)
