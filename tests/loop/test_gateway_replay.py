"""Rollouts that are recorded, replayed without a model, cached, and priced: through the command and the database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.template.loader import render_to_string
from pytest_django.fixtures import Settings

from governance.pointers import live_release
from loop import campaigns
from loop.campaigns import Wish
from loop.contract import Budgets
from loop.hidden import HiddenSet
from loop.installation import install
from loop.installed import open_task
from loop.models import Rollout
from loop.rollouts import PUBLIC_TRAIN, PUBLIC_VAL, Purpose, roll_out
from loop.serving.manager import stop_servers
from loop.verification import run_hidden
from tests.loop.conftest import COINS, Service
from tests.loop.fake_providers import FakeProvider, Say, fake_provider
from tests.loop.preflighted import hold_green
from tests.loop.served_coins import MODEL, PREPARE
from tests.loop.test_rollout import ASKING
from tests.loop.tiny_task import TASK_TOML, write_task, write_tree

pytestmark = pytest.mark.one_database


@dataclass
class Desk:
    """The command with a data home, a task and a provider of its own."""

    folder: Path
    provider: FakeProvider

    @property
    def task(self) -> Path:
        return self.folder / "task"

    def call(self, *arguments: str | Path) -> tuple[dict[str, Any], str]:
        """What the command printed as JSON ({} for nothing), and the sentence that it failed with."""
        out = StringIO()
        try:
            call_command("rollout", *map(str, arguments), "--json", stdout=out)
        except CommandError as error:
            return json.loads(out.getvalue() or "{}"), str(error)
        return json.loads(out.getvalue()), ""

    def run(
        self, *arguments: str | Path, price: tuple[str, str] | None = ("2", "10")
    ) -> tuple[dict[str, Any], str]:
        """A rollout of the seed harness with the provider's model."""
        where = [
            "--model-url",
            self.provider.base_url,
            "--model",
            "m",
            *(["--price", *price] if price else []),
        ]
        return self.call("--task-dir", self.task, "--harness", self.task / "seed", *where, *arguments)


@pytest.fixture
def desk(tmp_path: Path, settings: Settings) -> Iterator[Desk]:
    settings.PAWL_HOME = tmp_path / "home"
    write_tree(write_task(tmp_path / "task", toml=TASK_TOML + MODEL), {"seed/main.py": ASKING})
    with fake_provider() as provider:
        provider.default = lambda body: Say(
            "1" if body["messages"][0]["content"] == "b" else str(body["seed"] % 7)
        )
        yield Desk(tmp_path, provider)


def test_a_recorded_rollout_is_replayed_exactly_without_a_model(desk: Desk, tmp_path: Path) -> None:
    first, failure = desk.run("--record", tmp_path / "run", "--seed", "5")
    assert failure == "" and first["usage"]["model_calls"] == 4 and first["usage"]["cost_usd"] > 0
    asked = len(desk.provider.seen)
    again, failure = desk.call("--replay", first["record"])
    assert failure == "" and again["replay"]["exact"] and len(desk.provider.seen) == asked
    assert again["replay"]["outputs_digest"] == again["replay"]["recorded_outputs_digest"]
    assert (again["score"], again["items"], again["outputs"]) == (
        first["score"],
        first["items"],
        first["outputs"],
    )
    assert (again["usage"]["model_calls"], again["usage"]["cost_usd"]) == (4, 0.0)


def test_a_replay_of_another_harness_names_the_first_call_that_differs(desk: Desk, tmp_path: Path) -> None:
    desk.run("--record", tmp_path / "run")
    changed = ASKING.replace('"content": item}', '"content": item if item < "c" else item + "?"}')
    other = write_tree(tmp_path / "other", {"main.py": changed})
    again, failure = desk.call("--replay", tmp_path / "run", "--harness", other)
    assert 'Call 2 differs: messages[0].content is "c?", recorded was "c".' in failure
    assert again["replay"]["first_divergence"]["call"] == 2 and not again["replay"]["exact"]
    assert again["score"] is None and len(desk.provider.seen) == 4


def test_a_harness_that_is_not_repeatable_is_found_out(desk: Desk, tmp_path: Path) -> None:
    random = "import random\n" + ASKING.replace(
        '"answer": ask(row["id"])', '"answer": ask(row["id"]) + str(random.random())'
    )
    (desk.task / "seed" / "main.py").write_text(random)
    desk.run("--record", tmp_path / "run")
    again, failure = desk.call("--replay", tmp_path / "run")
    assert "The outputs differ from the recorded ones." in failure
    assert again["replay"]["first_divergence"] is None and not again["replay"]["exact"]


def test_a_record_is_not_replayed_on_other_data(desk: Desk, tmp_path: Path) -> None:
    desk.run("--record", tmp_path / "run")
    with (desk.task / "evaluator" / "evaluate.py").open("a") as file:
        file.write("\n# changed\n")
    assert "The evaluator of tiny changed since" in desk.call("--replay", tmp_path / "run")[1]


def test_a_record_is_never_written_over_another(desk: Desk, tmp_path: Path) -> None:
    desk.run("--record", tmp_path / "run")
    assert "already holds something" in desk.run("--record", tmp_path / "run")[1]
    assert len(desk.provider.seen) == 4


@pytest.mark.parametrize("damage", ["{", '{"format": 2}', '{"format": 1}', "[]"])
def test_a_folder_that_holds_no_record_is_refused(desk: Desk, tmp_path: Path, damage: str) -> None:
    write_tree(tmp_path / "run", {"record.json": damage, "calls.jsonl": ""})
    printed, failure = desk.call("--replay", tmp_path / "run")
    assert printed == {} and "holds no record of a rollout" in failure


def test_a_replay_cannot_be_mixed_with_a_live_model(desk: Desk) -> None:
    assert "answers from its record alone" in desk.run("--replay", "abcdef")[1]


def test_a_cached_rollout_costs_nothing_the_second_time(desk: Desk) -> None:
    first, _ = desk.run("--cache")
    second, _ = desk.run("--cache")
    assert first["usage"]["cost_usd"] > 0 == second["usage"]["cost_usd"] == second["usage"]["tokens"]
    assert (second["score"], second["usage"]["model_calls"]) == (first["score"], 4)
    assert len(desk.provider.seen) == 4
    assert desk.run()[0]["usage"]["cost_usd"] > 0 and len(desk.provider.seen) == 8


# --- prices ---


def test_a_model_without_prices_is_refused_in_one_sentence(desk: Desk) -> None:
    printed, failure = desk.run(price=None)
    assert printed == {} and failure.startswith("There are no prices for the model 'm' at http://127.0.0.1")
    assert "--price IN OUT" in failure and desk.provider.seen == []


def test_a_providers_file_prices_the_model_and_names_the_key(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = (
        f'id = "mine"\napi = "openai"\nbase_url = "{desk.provider.base_url}/v1"\nkey_env = "MINE_API_KEY"\n'
        'max_tokens_field = "max_completion_tokens"\n[models.m]\ncontext = 1000\ninput = 3.0\noutput = 30.0\n'
    )
    write_tree(desk.folder / "home" / "agents" / "providers", {"mine.toml": table})
    monkeypatch.setenv("MINE_API_KEY", "sk-mine")
    done, failure = desk.run(price=None)
    assert failure == "" and done["usage"]["cost_usd"] == pytest.approx(4 * (10 * 3.0 + 5 * 30.0) / 1e6)
    assert desk.provider.seen[0].headers["authorization"] == "Bearer sk-mine"
    assert desk.provider.seen[0].body["max_completion_tokens"] == 5
    write_tree(
        desk.folder / "home" / "agents" / "providers", {"mine.toml": table.replace("models.m", "models.n")}
    )
    assert "no prices for the model 'm'" in desk.run(price=None)[1]


def test_a_rollout_stops_at_the_money_that_it_was_given(desk: Desk) -> None:
    done, _ = desk.run("--cost-usd", "0.012", price=("0", "1000"))
    assert done["outcome"] == "limit" and "money budget is spent" in done["reason"]
    assert done["usage"]["cost_usd"] == pytest.approx(0.01) and len(desk.provider.seen) == 2


# --- stored rollouts ---

ASKING_COINS = ASKING.replace('"content": item', '"content": "aakhabqq="')


@pytest.fixture
def asking(service: Service, tmp_path: Path) -> Iterator[Callable[..., Rollout]]:
    """Rolls out a task whose harness asks a tiny model that we serve: `asking(split, cache=...)`."""
    toml = (COINS / "task.toml").read_text().replace('id = "coins"', 'id = "asking"')
    folder = write_tree(tmp_path / "asking", {
        "task.toml": toml + MODEL, "task.md": "Ask.", "prepare.py": PREPARE, "seed/main.py": ASKING_COINS,
        "evaluator/evaluate.py": (COINS / "evaluator" / "evaluate.py").read_text(),
    })  # fmt: skip
    row = install(folder, service.operator)
    hold_green(row, service.operator)
    started: list[Any] = []

    def run(split: str = PUBLIC_VAL, cache: bool = False) -> Rollout:
        if not started or started[-1].contract["cache_replies"] is not cache:
            for campaign in started[-1:]:
                campaigns.stop(campaign, "Another one is started.", service.operator)
            started.append(
                campaigns.start(row, Wish("search", 1, ("harness",), Budgets(1), cache), service.operator)
            )
        purpose = Purpose(started[-1], None, 1, 10**6, 1.0, cache=cache)
        return roll_out(open_task(row), live_release(row), split, purpose)

    yield run
    stop_servers(tmp_path / "home" / "run")


def sources(row: Rollout) -> set[str]:
    """Where the answers of a stored rollout came from."""
    return {step.body["source"] for step in row.steps.all()}


def test_a_stored_rollout_names_its_model_and_is_replayed_from_the_database(
    asking: Callable[..., Rollout], tmp_path: Path
) -> None:
    row = asking()
    assert row.outcome == "ok" and row.steps.count() == 120
    step = row.steps.get(index=0)
    assert step.body["base_model"] == row.release.binding["base_model"] != ""
    assert (step.body["adapter_digest"], step.body["source"], step.body["attempts"]) == ("", "provider", 1)
    stop_servers(tmp_path / "home" / "run")
    out = StringIO()
    call_command("rollout", "--replay", row.key[:12], "--json", stdout=out)
    printed = json.loads(out.getvalue())
    assert printed["replay"]["exact"] and printed["score"] == row.score
    assert printed["outputs"] == row.outputs and Rollout.objects.count() == 1
    assert not list((tmp_path / "home" / "run").glob("server-*.json"))
    page = render_to_string("loop/rollout.html", {"rollout": row, "steps": [], "usage": []})
    assert f"rollout --replay {row.key[:12]}" in page
    with pytest.raises(CommandError, match="No single stored rollout"):
        call_command("rollout", "--replay", row.key[:3])


def test_the_cache_serves_public_val_and_neither_training_nor_the_hidden_test(
    asking: Callable[..., Rollout],
    tmp_path: Path,
) -> None:
    first = asking(cache=True)
    assert sources(first) == {"provider"}
    Rollout.objects.update(key="0" * 64)
    again = asking(cache=True)
    assert first.campaign is not None and first.campaign.contract["cache_replies"] is True
    assert (sources(again), again.score, again.usage["tokens"]) == ({"cache"}, first.score, 0)
    Rollout.objects.filter(pk=again.pk).update(key="1" * 64)
    assert sources(asking(cache=False)) == {"provider"}
    for number in range(2):
        training = asking(PUBLIC_TRAIN, cache=True)
        assert sources(training) == {"provider"}
        Rollout.objects.filter(pk=training.pk).update(key=f"{number + 2}" * 64)
    task = open_task(first.release.task)
    evaluation = task.evaluation(PUBLIC_VAL)
    # public-val in the place of a hidden set: everything that the harness asks is in the cache
    like_hidden = HiddenSet(task.inputs(PUBLIC_VAL), evaluation.labels_dir, evaluation.expected_ids, tmp_path)
    report = run_hidden(task, first.release, like_hidden, 1)
    assert {call.source for call in report.calls} == {"provider"}
