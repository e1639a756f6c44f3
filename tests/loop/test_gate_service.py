"""The gate inside whole campaigns: trials, slices, the ledger over campaigns, on real data and a real sandbox."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.migrations.executor import MigrationExecutor

from governance.actions import policy_manifest, register_version
from governance.actors import SETUP
from governance.desk.evidence import cards
from governance.desk.needs import needs_of
from governance.digests import json_digest, sha256_hex
from governance.models import AuditEntry, Pointer, Task, Version
from governance.pointers import evaluator_in_force
from governance.policy import bundled_text, parse_policy, policy_now
from governance.rules import standing
from loop import advance, campaigns, rescoring_hidden
from loop.campaigns import Wish, promise, start
from loop.contract import Budgets, Contract
from loop.errors import BudgetSpent, TaskError
from loop.evaluator_change import propose_registered
from loop.installation import install
from loop.models import Campaign, EvaluatorCheck, HiddenQuery, Rollout, Verification
from loop.types import ModelCall
from loop.verification import results
from tests.loop.conftest import COINS, Service
from tests.loop.preflighted import hold_green
from tests.loop.test_campaign import proposal_of


def variant(folder: Path, slug: str = "coins", gate: str = "", **edits: tuple[str, str]) -> Path:
    """A copy of the task `coins` under another name, with more in task.toml and edited files (name without .py)."""
    shutil.copytree(COINS, folder)
    toml = (folder / "task.toml").read_text().replace('id = "coins"', f'id = "{slug}"')
    (folder / "task.toml").write_text(f"{toml}\n{gate}")
    for name, (old, new) in edits.items():
        path = folder / {"main": "seed/main.py"}.get(name, f"{name}.py")
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))
    return folder


def campaign_on(service: Service, task: Task, seed: int = 1) -> Campaign:
    """A short campaign of the search backend on a task of the service."""
    hold_green(task, service.operator)
    return start(task, Wish("search", seed, ("harness",), Budgets(generations=3)), service.operator)


def evidence_of(campaign: Campaign) -> dict[str, Any]:
    """The JSON evidence of the campaign's proposal."""
    return {item.name: json.loads(item.data()) for item in proposal_of(campaign).evidence.all()}


def allow(queries: int) -> None:
    """Put a policy in force that allows so many hidden queries per epoch."""
    text = bundled_text().replace("hidden_queries_per_epoch = 40", f"hidden_queries_per_epoch = {queries}")
    digest = sha256_hex(text.encode())
    register_version(kind="policy", digest=digest, task=None, manifest=policy_manifest(text), by=SETUP)
    Pointer.objects.filter(key="policy").update(digest=digest)
    assert policy_now().gate.hidden_queries_per_epoch == queries


NOISY = (
    'if row["weight"] > table["cut"]["value"]',
    (
        'if (row["weight"] > table["cut"]["value"]) '
        '!= (random.Random(os.environ["HARNESS_SEED"] + str(row["weight"])).random() < 0.1)'
    ),
)


@pytest.mark.one_database
def test_a_hidden_test_of_several_trials_runs_each_with_its_own_seed(
    service: Service, tmp_path: Path
) -> None:
    folder = variant(tmp_path / "noisy", "noisy", "[gate]\ntrials = 3\n", main=NOISY)
    main = folder / "seed" / "main.py"
    main.write_text(main.read_text().replace("import os\n", "import os\nimport random\n"))
    campaign = service.run(campaign_on(service, install(folder, service.operator)))
    found = evidence_of(campaign)["comparison"]
    assert (found["n"], found["trials"], found["results"]) == (160, 3, 480)
    assert found["method"].startswith("stratified CMH")
    assert found["p"] == max(found["p_trials"], found["p_units"])
    whole = found["score_after"] * 480
    assert whole == pytest.approx(round(whole))
    parts = [(found[name] * 160) % 1 for name in ("score_before", "score_after")]
    assert any(0.01 < part < 0.99 for part in parts), "three equal trials would have whole items"
    assert proposal_of(campaign).status == "ready"


TWO_MINTS = {
    "prepare": (
        '{"id": key, "answer": answer} for key, _, answer in rows',
        '{"id": key, "answer": answer if at % 8 else "heavy", "mint": "north" if at % 8 else "south"}'
        " for at, (key, _, answer) in enumerate(rows)",
    ),
}
GUARD = '[gate.slices.mint]\nfield = "mint"\nof = "labels"\nmargin = 0.1\n'


@pytest.mark.one_database
def test_a_release_that_sacrifices_a_guarded_slice_does_not_pass(service: Service, tmp_path: Path) -> None:
    """Every eighth coin is heavy whatever it weighs: the better cut gains on the others and loses on these."""
    task = install(variant(tmp_path / "minted", "minted", GUARD, **TWO_MINTS), service.operator)
    campaign = service.run(campaign_on(service, task))
    proposal, found = proposal_of(campaign), evidence_of(campaign)["comparison"]
    assert {part["name"]: part["held"] for part in found["slices"]} == {
        "mint=north": True,
        "mint=south": False,
    }
    assert {part["n"] for part in found["slices"]} == {140, 20}
    assert found["p"] < found["alpha"]
    assert proposal.status == "failed"
    assert "The slice mint=south may lose" in proposal.status_reason
    shown = next(card for card in cards(list(proposal.evidence.all())) if card.name == "comparison")
    assert [part["held"] for part in shown.extra["slices"]] == [True, False]


@pytest.mark.parametrize(
    ("gate", "sentence"),
    [
        (GUARD, "Not every hidden item has a text"),
        (GUARD.replace('"mint"\nof = "labels"', '"id"\nof = "inputs"'), "fewer than 10 hidden items"),
        ('[gate.cluster]\nfield = "mint"\nof = "inputs"\n', "Not every hidden item has a text"),
        ('[gate.cluster]\nfield = "answer"\nof = "labels"\n', "fewer than 10 clusters"),
        ("[gate]\ntrials = 0\n", "gate.trials must be a positive integer"),
        ("[gate]\ntrials = 26\n", "gate.trials must be at most 25"),
        ("[gate]\nalpha = 0.7\n", "gate.alpha must lie above 0"),
        ('[gate]\ncorrection = "none"\n', "gate.correction must be budget or fresh-slice or open-ended"),
        (GUARD.replace("0.1", "0"), "gate.slices.mint.margin must be a number above 0"),
        ("[gate]\nsmalest_gain = 0.1\n", "gate.smalest_gain is not a known field"),
    ],
)
@pytest.mark.one_database
def test_a_gate_that_the_hidden_data_cannot_bear_is_refused_at_installation(
    service: Service, tmp_path: Path, gate: str, sentence: str
) -> None:
    with pytest.raises(TaskError, match=sentence):
        install(variant(tmp_path / "task", "other", gate), service.operator)


@pytest.mark.one_database
def test_clusters_are_the_units_of_a_hidden_test(service: Service, tmp_path: Path) -> None:
    edits = ('"weight": weight}', '"weight": weight, "bag": int(key[:2], 16) % 40}')
    gate = '[gate.cluster]\nfield = "bag"\nof = "inputs"\n'
    task = install(variant(tmp_path / "bagged", "bagged", gate, prepare=edits), service.operator)
    campaign = service.run(campaign_on(service, task))
    found = evidence_of(campaign)["comparison"]
    assert found["unit"] == "cluster"
    assert 30 <= found["n"] <= 40
    assert found["method"] == "sign-flip permutation"


@pytest.mark.one_database
def test_the_contract_names_everything_that_decides_and_is_logged_before_the_first_rollout(
    service: Service, tmp_path: Path
) -> None:
    gate = '[gate]\ncorrection = "open-ended"\ntrials = 2\n' + GUARD
    campaign = campaign_on(
        service, install(variant(tmp_path / "t", "minted", gate, **TWO_MINTS), service.operator)
    )
    entry = AuditEntry.objects.get(action="campaign.start", object_id=campaign.ref)
    logged = entry.entry()["detail"]["contract"]
    assert entry.entry()["after"] == campaign.contract_digest == json_digest(logged)
    assert not Rollout.objects.exists()
    assert logged["budgets"]["hidden_queries"] == 10
    assert logged["slices"] == [
        {"name": "mint", "where": {"field": "mint", "of": "labels"}, "margin": 0.1, "values": []}
    ]
    assert len(logged["trial_seeds"]) == logged["trials"] == 2
    assert logged["alpha_query"] == pytest.approx(0.05 * 6 / 9.8696, rel=1e-4)
    for key in ("alpha", "promotions", "smallest_gain", "smallest_visible_gain", "discordance", "correction",
                "test", "submit", "evaluator", "policy", "seed", "hidden_set", "hidden_used", "cluster"):  # fmt: skip
        assert key in logged
    service.run(campaign)
    first = Rollout.objects.order_by("created_at").first()
    assert first is not None
    assert entry.time < first.created_at


def test_two_tasks_over_the_same_hidden_data_share_one_ledger(service: Service, tmp_path: Path) -> None:
    """The second is open-ended, so that its level falls with every query of either."""
    twin = install(
        variant(tmp_path / "twin", "twin", '[gate]\ncorrection = "open-ended"\n'), service.operator
    )
    first = service.run(service.campaign())
    second = service.run(campaign_on(service, twin))
    assert "has answered 0 of 40 queries" in promise(first)
    assert "has answered 1 of 40 queries" in promise(second)
    assert list(HiddenQuery.objects.order_by("pk").values_list("number", "place")) == [(1, 1), (1, 2)]
    ledger = evidence_of(second)["ledger"]
    assert (ledger["used"], ledger["epoch_used"], ledger["epoch_allowed"]) == (1, 2, 40)
    level = HiddenQuery.objects.get(place=2).alpha
    assert level == pytest.approx(0.05 * 6 / 9.8696 / 4, rel=1e-4)
    assert ledger["epoch_alpha"] == pytest.approx(0.005 + level)
    proposal = proposal_of(second)
    said = [
        need.sentence for need in needs_of(proposal, standing(proposal), list(proposal.evidence.all()), True)
    ]
    assert "The hidden set has answered 2 of 40 queries, all campaigns together." in said


@pytest.mark.one_database
def test_fresh_data_are_asked_for_once_a_promotion_was_decided_on_these(
    service: Service, tmp_path: Path
) -> None:
    task = install(variant(tmp_path / "t", "twin", '[gate]\ncorrection = "fresh-slice"\n'), service.operator)
    proposal = proposal_of(service.run(campaign_on(service, task)))
    start(task, Wish("search", 5), service.operator)
    Campaign.objects.filter(seed=5).update(status="stopped")
    type(proposal).objects.filter(pk=proposal.pk).update(status="promoted")
    with pytest.raises(BudgetSpent, match="bring fresh hidden data"):
        start(task, Wish("search", 6), service.operator)


def with_its_data(folder: Path, seed: int) -> Path:
    """`coins` as a folder that holds its data and has no prepare.py; the seed changes the data alone."""
    variant(folder, "own", prepare=("Random(7)", f"Random({seed})"))
    subprocess.run([sys.executable, str(folder / "prepare.py"), "--out", str(folder)], check=True)
    (folder / "prepare.py").unlink()
    return folder


@pytest.mark.one_database
def test_a_used_up_hidden_set_refuses_campaigns_until_people_put_fresh_data_in_force(
    service: Service, tmp_path: Path
) -> None:
    task = install(with_its_data(tmp_path / "old", 7), service.operator)
    service.run(campaign_on(service, task))
    allow(1)
    with pytest.raises(
        BudgetSpent, match="answered 1 queries and the policy allows 1; people have to bring fresh"
    ):
        campaign_on(service, task, seed=2)
    old = evaluator_in_force(task)
    install(with_its_data(tmp_path / "fresh", 8), service.operator)
    assert evaluator_in_force(task) == old
    fresh = Version.objects.filter(task=task, kind="evaluator").exclude(pk=old.pk).get()
    with pytest.raises(TaskError, match=r"registered are \w{12} \(in force\), \w{12}\."):
        propose_registered(task, old.digest[:9], "Again.", service.reviewers[0])
    proposal = propose_registered(task, fresh.digest[:9], "Fresh data.", service.reviewers[0])
    assert (proposal.status, proposal.lane, proposal.version) == ("verifying", "evaluator", fresh)
    rescoring_hidden.check(EvaluatorCheck.objects.get().pk)
    proposal.refresh_from_db()
    assert proposal.status == "ready", proposal.status_reason
    told = json.loads(proposal.evidence.get(name="rescored_hidden").data())
    assert told["same_items"] is False and told["n"] is told["items_changed"] is None
    assert 0 < told["old"]["score"] != told["new"]["score"] > 0
    reads = AuditEntry.objects.filter(action="hidden.read").order_by("seq")
    opened = [row.entry()["detail"].get("rescored_under") for row in reads]
    assert opened[-2:] == [[old.digest], [fresh.digest]]
    diff = next(item for item in proposal.evidence.all() if item.name == "diff").data().decode()
    assert fresh.manifest["hidden_commitment"] in diff
    Pointer.objects.filter(key="evaluator:own").update(digest=fresh.digest)
    assert "has answered 0 of 1 queries" in promise(campaign_on(service, task, seed=2))


def test_two_campaigns_at_once_never_take_the_last_query_twice(service: Service, tmp_path: Path) -> None:
    """Two tasks over the same hidden data, each with its campaign about to submit, on two workers."""
    allow(1)
    twin = install(variant(tmp_path / "twin", "twin"), service.operator)
    both = [service.campaign(), campaign_on(service, twin)]
    for campaign in both:
        while campaigns.next_act(campaign).act is not campaigns.Act.SUBMIT:
            advance.advance_once(campaign)
    barrier = threading.Barrier(2)

    def submit(campaign: Campaign) -> None:
        try:
            barrier.wait(10)
            advance.advance_once(campaign)
        finally:
            connection.close()

    workers = [threading.Thread(target=submit, args=(campaign,)) for campaign in both]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert HiddenQuery.objects.count() == Verification.objects.count() == 1
    reasons = [campaign.status_reason for campaign in Campaign.objects.filter(status="failed")]
    assert len(reasons) == 1
    assert "people have to bring fresh hidden data" in reasons[0]


@pytest.mark.one_database
def test_a_policy_from_before_the_key_still_reads() -> None:
    text = "\n".join(line for line in bundled_text().splitlines() if "per_epoch" not in line)
    assert parse_policy(text).gate.hidden_queries_per_epoch == 40


@pytest.mark.one_database
def test_a_result_lost_to_an_outage_is_missing_and_not_zero() -> None:
    def call(index: int, item: str | None, status: int) -> ModelCall:
        return ModelCall(index, "openai", "m", "m", {}, None, status, "", 0, 0, 0.0, 0.0, item)

    calls = (
        call(0, "lost", 502),
        call(1, "retried", 502), call(2, "retried", 200),
        call(3, "given up", 200), call(4, "given up", 503),
        call(5, "refused", 400), call(6, "elsewhere", 502), call(7, None, 502),
    )  # fmt: skip
    items = {"lost": 0.0, "retried": 1.0, "given up": 1.0, "refused": 0.0, "quiet": 1.0}
    expected = {"lost": None, "retried": 1.0, "given up": None, "refused": 0.0, "quiet": 1.0}
    assert results(items, calls) == expected


def test_the_ledger_of_an_older_database_is_numbered_and_stays_append_only(service: Service) -> None:
    service.run(service.campaign())
    before = HiddenQuery.objects.values_list("hidden_set", "place").get()
    leaves = [node for node in MigrationExecutor(connection).loader.graph.leaf_nodes() if node[0] == "loop"]
    MigrationExecutor(connection).migrate([("loop", "0002_append_only_ledger")])
    MigrationExecutor(connection).migrate(leaves)
    assert HiddenQuery.objects.values_list("hidden_set", "place").get() == before
    assert before[1] == 1
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        HiddenQuery.objects.update(place=7)
    assert Contract.from_json(Campaign.objects.get().contract).hidden_set == before[0]
