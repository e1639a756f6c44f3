"""Campaigns whose agents are language models, over HTTP through the real SDKs, faults included."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from loop import hidden_store
from loop.campaigns import Wish, start
from loop.contract import Budgets
from loop.installation import LABELS, store
from loop.models import AgentCall, Campaign, Generation
from tests.loop.conftest import Service
from tests.loop.fake_providers import FakeProvider, Fault, Say, fake_provider, install_profile

pytestmark = pytest.mark.one_database

SETTINGS = (Path(__file__).parents[1] / "fixtures" / "coins" / "seed" / "settings.toml").read_text()
FIRST = (
    Say(tools=(("edit_file", {"path": "main.py", "old": 'print("weighed")', "new": 'print("done")'}),)),
    Say(tools=(("decide", {"lever": "harness", "reason": "The seed is a fair start."}),)),
)
REWRITE = Say(
    tools=(
        ("write_file", {"path": "settings.toml", "text": SETTINGS.replace("value = 0.1", "value = 0.6")}),
    ),
    tokens=(1000, 200),
)
DECIDE = Say(
    tools=(("decide", {"lever": "harness", "reason": "Light coins are called heavy."}),), tokens=(1200, 50)
)
DECLINE = Say("I would rather not.", stop="refusal")


@pytest.fixture(params=["anthropic", "openai"])
def provider(request: pytest.FixtureRequest, service: Service, tmp_path: Path) -> Iterator[FakeProvider]:
    """A local provider, made known to the service by two TOML files in its data home."""
    with fake_provider() as server:
        install_profile(server, tmp_path / "home", request.param)
        yield server


def campaign(service: Service, generations: int, cost_usd: float = 10.0) -> Campaign:
    """A campaign of the local profile on the harness lever."""
    budgets = Budgets(generations=generations, cost_usd=cost_usd)
    return start(service.task, Wish("local", 1, ("harness",), budgets), service.operator)


def test_a_model_rewrites_the_harness_and_everything_it_said_is_kept(
    service: Service, provider: FakeProvider
) -> None:
    provider.plan(*FIRST, Fault(529, "overloaded", {"retry-after": "0"}), REWRITE, DECIDE)
    done = service.run(campaign(service, generations=1))
    assert "waits for review" in done.status_reason
    turn = done.generations.get(number=1)
    assert (turn.verdict, turn.lever) == (Generation.Verdict.KEPT, "harness")
    calls = list(AgentCall.objects.filter(generation=turn).order_by("index"))
    assert [bool(call.error) for call in calls] == [True, False, False]
    assert "write_file" in json.dumps(calls[1].reply)
    assert sum(call.prompt_tokens for call in calls) == 2200
    assert turn.cost_usd == pytest.approx((2200 * 3 + 250 * 15) / 1e6)
    assert done.spent["cost_usd"] == pytest.approx(turn.cost_usd + done.generations.get(number=0).cost_usd)


def test_a_refusal_ends_its_generation_and_the_campaign_goes_on(
    service: Service, provider: FakeProvider
) -> None:
    provider.plan(*FIRST)
    provider.default = DECLINE
    done = service.run(campaign(service, generations=1))
    turn = done.generations.get(number=1)
    assert turn.verdict == Generation.Verdict.FAILED
    assert turn.reason.startswith("Refused:")
    assert done.status == Campaign.Status.FINISHED


def test_spent_money_ends_the_generation_cleanly(service: Service, provider: FakeProvider) -> None:
    provider.plan(*FIRST, REWRITE, DECIDE)
    done = service.run(campaign(service, generations=3, cost_usd=0.000001))
    assert done.status in {Campaign.Status.FINISHED, Campaign.Status.FAILED}
    last = done.generations.order_by("number").last()
    assert last is not None
    assert "USD" in f"{last.reason} {done.status_reason}" or "$" in f"{last.reason} {done.status_reason}"


def test_what_a_model_is_shown_holds_no_label_and_no_hidden_row(
    service: Service, provider: FakeProvider
) -> None:
    provider.plan(*FIRST, REWRITE, DECIDE)
    service.run(campaign(service, generations=1))
    shown = json.dumps([seen.body for seen in provider.seen])
    hidden = next(hidden_store.sets().root.glob("*/inputs/inputs.jsonl")).read_text().splitlines()
    assert hidden and not [row for row in map(json.loads, hidden) if row["id"] in shown]
    labels = next(store(LABELS).root.glob("*/public-val/labels.jsonl")).read_text().splitlines()
    assert labels and not [line for line in labels if line in shown or json.dumps(line)[1:-1] in shown]
    assert next(iter(json.loads(line)["id"] for line in labels if json.loads(line)["id"] in shown))
