"""One hidden test of one release that a person asks for: what it costs, what comes out, and what is refused."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from governance import actions
from governance.actors import LOOP
from governance.assurance.verify import live_differences
from governance.digests import file_list
from governance.errors import BadInput, NotAllowed
from governance.models import AuditEntry, Person, Release
from governance.pointers import live_release
from loop import verification
from loop.asked import ask
from loop.errors import BudgetSpent, LoopError, TaskError
from loop.follow import Ticker
from loop.installation import repo_of
from loop.installed import tree_of
from loop.management.commands.verify import as_json, wait_for, words
from loop.models import Campaign, Generation, HiddenQuery, Preflight, Rollout, Verification
from loop.repos import CommitNote, digest_of, edited
from tests.loop.conftest import COINS, Service
from tests.loop.test_gate_service import allow
from tests.loop.test_stop import waiting

pytestmark = pytest.mark.one_database

WHY = "Something looks wrong tonight."
BROKEN = "raise SystemExit(3)\n"


def release_of(service: Service, files: dict[str, str], origin: str = "test") -> Release:
    """A registered release: the live one with these files instead."""
    live = live_release(service.task)
    tree = edited(tree_of(live.harness), files)
    note = CommitNote("Other", "agent", datetime(2026, 1, 1, tzinfo=UTC))
    commit = repo_of(service.task).commit(tree, live.harness.manifest["commit"], note, "other")
    manifest = {"commit": commit, "files": file_list(tree)}
    version = actions.register_version(
        kind="harness", digest=digest_of(tree), task=service.task, manifest=manifest, by=LOOP
    )
    draft = actions.ReleaseDraft(service.task, version, None, live, live.binding, origin)
    return actions.register_release(draft=draft, by=LOOP)


@pytest.fixture
def better(service: Service) -> Release:
    """A release that weighs with the right cut."""
    return release_of(
        service,
        {"settings.toml": (COINS / "seed/settings.toml").read_text().replace("value = 0.1", "value = 0.6")},
    )


@pytest.mark.parametrize("first_to_make_it", [True, False])
def test_whoever_started_the_campaign_that_made_a_release_does_not_count_towards_it(
    service: Service, better: Release, first_to_make_it: bool
) -> None:
    first = ask(better, 0, service.operator, print)
    Campaign.objects.filter(pk=first.query.campaign_id).update(started_by="p-starter")
    origin = f"campaign {first.query.campaign.ref} generation 1" if first_to_make_it else "test"
    made = release_of(service, {"notes.txt": "Made by the campaign.\n"}, origin)
    if not first_to_make_it:
        Generation.objects.create(campaign=first.query.campaign, number=1, candidate=made)
    row = ask(made, 0, service.operator, print)
    assert row.query.proposal.excluded == sorted(["p-starter", service.operator.ref])


def test_a_better_release_is_proposed_at_the_price_of_one_query(
    service: Service, better: Release, client: Client
) -> None:
    said: list[str] = []
    row = ask(better, 0, service.operator, said.append)
    live = live_release(service.task)
    assert said == [f"rolling out {arm.digest[:12]} on public-val" for arm in (live, better)]
    assert (row.status, row.query.place) == ("queued", 1) and row.query.alpha == pytest.approx(0.005)
    assert ("verify", "verify", row.pk) in due_now()
    assert not AuditEntry.objects.filter(action="hidden.read").exists(), (
        "the verifier alone opens the hidden set"
    )
    assert verification.verify(row.pk)
    row.refresh_from_db()
    wait_for(row, Ticker(io.StringIO()))
    told = as_json(row)
    assert (told["passed"], told["status"], told["ledger"]) == (
        True, "ready", {"place": 1, "used": 1, "allowed": 40},
    )  # fmt: skip
    assert f"Release {better.digest[:12]} passed; proposal {told['proposal'][:8]} waits for review." in words(
        row
    )
    assert "accuracy on 160 hidden items" in words(row) and "query 1 of 40" in words(row)
    (entry,) = AuditEntry.objects.filter(action="verification")
    assert entry.actor == service.operator.ref and entry.object_id == told["proposal"]
    detail = entry.entry()["detail"]
    assert (detail["place"], detail["contract"]["base_release"]) == (1, live.digest)
    assert service.operator.ref in row.query.proposal.excluded
    campaign = row.query.campaign
    assert (campaign.status, campaign.generations.count()) == ("finished", 0)
    client.force_login(Person.objects.get(ref=service.operator.ref).user)
    for page in ("/campaigns/", f"/campaigns/{campaign.ref}/", f"/proposals/{told['proposal']}/"):
        assert client.get(page).status_code == 200, page
    with pytest.raises(TaskError, match="proposed already"):
        ask(better, 0, service.operator, said.append)
    assert HiddenQuery.objects.count() == 1
    assert live_differences() == []


def due_now() -> list[tuple[str, str, str | int]]:
    """What the database says is to be done."""
    from loop.jobs import due

    return due()


def test_a_release_that_is_no_better_does_not_pass_and_is_told_so(service: Service) -> None:
    same = release_of(service, {"NOTES.txt": "Nothing that runs.\n"})
    row = ask(same, 0, service.operator, lambda _: None)
    verification.verify(row.pk)
    row.refresh_from_db()
    wait_for(row, Ticker(io.StringIO()))
    told = as_json(row)
    assert (told["passed"], told["status"]) == (False, "failed") and told["comparison"]["difference"] == 0
    assert "did not pass" in words(row) and told["reason"] in words(row)


def test_whatever_a_campaign_is_refused_for_is_refused_before_anything_is_run(
    service: Service, better: Release
) -> None:
    def refused(kind: type[Exception], match: str, release: Release = better, by=service.operator) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(kind, match=match):
            ask(release, 0, by, lambda _: None)
        assert not HiddenQuery.objects.exists() and not Rollout.objects.exists()

    refused(NotAllowed, "operator", by=service.reviewers[0])
    refused(TaskError, "is live", live_release(service.task))
    Preflight.objects.update(green=False)
    refused(TaskError, "its last preflight was red")
    Preflight.objects.update(green=True)
    actions.hold(digest=better.digest, reason=WHY, by=service.operator)
    refused(NotAllowed, "held")
    allow(0 + 1)
    waiting(service, 21)
    refused(NotAllowed, "21 proposals wait")
    actions.stop(scope="coins", reason=WHY, by=service.operator)
    refused(NotAllowed, "was stopped")
    assert not Campaign.objects.exists()


def test_a_used_up_hidden_set_answers_no_person_either(service: Service, better: Release) -> None:
    ask(better, 0, service.operator, lambda _: None)
    allow(1)
    other = release_of(service, {"NOTES.txt": "Nothing that runs.\n"})
    with pytest.raises(BudgetSpent, match="answered 1 queries and the policy allows 1"):
        ask(other, 0, service.operator, lambda _: None)
    assert HiddenQuery.objects.count() == Campaign.objects.count() == 1


def test_a_release_that_does_not_run_spends_no_query(service: Service) -> None:
    broken = release_of(service, {"main.py": BROKEN})
    with pytest.raises(LoopError, match="has no public-val score"):
        ask(broken, 0, service.operator, lambda _: None)
    campaign = Campaign.objects.get()
    assert campaign.status == "failed" and "Nothing was asked" in campaign.status_reason
    assert not HiddenQuery.objects.exists()
    assert not AuditEntry.objects.filter(action="verification").exists()


def test_a_verification_that_cannot_be_carried_out_is_said_to_have_no_result(
    service: Service, better: Release
) -> None:
    row = ask(better, 0, service.operator, lambda _: None)
    Campaign.objects.update(contract={**row.query.campaign.contract, "evaluator": "0" * 64})
    verification.verify(row.pk)
    row = Verification.objects.get(pk=row.pk)
    assert row.status == "failed" and "has no hidden result" in words(row)
    assert (as_json(row)["passed"], as_json(row)["comparison"]) == (None, None)
    assert "The evaluator changed" in as_json(row)["reason"]


def test_the_command_asks_and_leaves_the_work(
    service: Service,
    better: Release,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("PAWL_PASSWORD", "correct-horse-oscar")
    call_command("verify", better.digest[:12], "--as", "oscar", "--detach", "--json")
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["status"] == "queued" and "rolling out" in err
    assert Verification.objects.get().query.proposal.ref == told["proposal"]
    with pytest.raises((CommandError, BadInput), match="No release begins with"):
        call_command("verify", "0000000", "--as", "oscar")
