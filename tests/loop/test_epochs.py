"""Scores of two evaluators are never compared, drawn on one line or ranked together."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from django.test import Client

from governance.actions import register_version, review
from governance.actors import LOOP
from governance.digests import json_digest
from governance.models import Person, Pointer, Review, Version
from governance.pointers import evaluator_in_force, evaluator_key
from loop import verification
from loop.contract import Contract
from loop.evidence import accepted
from loop.follow import table
from loop.installation import ARTIFACTS, store
from loop.management.commands.campaign import as_json
from loop.models import ArchiveEntry, Campaign, HiddenQuery, Rollout
from tests.loop.conftest import COINS, Service
from tests.loop.preflighted import hold_green

pytestmark = pytest.mark.one_database


def new_epoch(service: Service, tmp_path: Path) -> Version:
    """Put an evaluator in force that gives every answer a point."""
    folder = tmp_path / "generous"
    folder.mkdir()
    code = (COINS / "evaluator" / "evaluate.py").read_text()
    (folder / "evaluate.py").write_text(code.replace('float(answers[row["id"]] == row["answer"])', "1.0"))
    manifest = {**evaluator_in_force(service.task).manifest, "code": store(ARTIFACTS).put(folder)}
    version = register_version(
        kind="evaluator", digest=json_digest(manifest), task=service.task, manifest=manifest, by=LOOP
    )
    Pointer.objects.filter(key=evaluator_key(service.task)).update(digest=version.digest)
    hold_green(service.task, service.operator)
    return version


def page(name: str, address: str) -> str:
    client = Client(headers={"host": "localhost"})
    client.force_login(Person.objects.get(user__username=name).user)
    return client.get(address).content.decode()


def one_epoch(campaign: Campaign) -> None:
    """Every score that the campaign has, accepts or draws was given by the evaluator of its contract."""
    epoch = Contract.from_json(campaign.contract).evaluator
    assert set(campaign.rollouts.values_list("evaluator_digest", flat=True)) == {epoch}
    known = {row.release.digest: row.score for row in campaign.rollouts.filter(split="public-val")}
    assert all(known[entry.release] == entry.score for entry in accepted(campaign))
    drawn = [turn.score_after for turn in campaign.generations.exclude(score_after=None)]
    assert set(drawn) <= set(known.values())


def test_a_campaign_ends_when_the_evaluator_changes_and_takes_no_score_of_the_new_one(
    service: Service, tmp_path: Path
) -> None:
    campaign = service.campaign(generations=3)
    service.advance(campaign)
    before = Rollout.objects.count()
    assert before
    Campaign.objects.filter(pk=campaign.pk).update(status="running")
    campaign.generations.update(step="roll_out", verdict="", score_after=None)
    new_epoch(service, tmp_path)
    service.advance(campaign)
    campaign.refresh_from_db()
    assert campaign.status == "failed"
    assert "scores of two epochs are never compared" in campaign.status_reason
    assert Rollout.objects.count() == before
    one_epoch(campaign)


def test_the_next_campaign_scores_everything_anew_and_ranks_only_its_own(
    service: Service, tmp_path: Path
) -> None:
    first = service.run(service.campaign(generations=2))
    version = new_epoch(service, tmp_path)
    second = service.campaign(generations=2, seed=1)
    service.advance(second)
    second.refresh_from_db()
    for campaign in (first, second):
        one_epoch(campaign)
    assert second.contract["evaluator"] == version.digest != first.contract["evaluator"]
    seed = first.base_release
    scores = {row.campaign_id: row.score for row in Rollout.objects.filter(release=seed, split="public-val")}
    assert scores[second.pk] == 1.0 and (scores[first.pk] or 0.0) < 1.0
    assert {entry.campaign_id for entry in ArchiveEntry.objects.filter(score=1.0)} == {second.pk}


def test_the_gate_refuses_a_question_from_another_epoch(service: Service, tmp_path: Path) -> None:
    campaign = service.campaign(generations=2)
    queued = service.advance(campaign)
    assert [name for _, name, _ in queued] == ["verify"]
    new_epoch(service, tmp_path)
    for _, _, key in queued:
        verification.verify(int(key))
    query = HiddenQuery.objects.get(campaign=campaign)
    query.proposal.refresh_from_db()
    assert query.proposal.status in {"failed", "stale"}
    assert not query.proposal.evidence.filter(name="comparison").exists()


@pytest.mark.parametrize("name", ["oscar"])
def test_a_campaigns_page_draws_scores_of_its_own_epoch_alone(
    service: Service, tmp_path: Path, name: str
) -> None:
    first = service.run(service.campaign(generations=2))
    new_epoch(service, tmp_path)
    second = service.campaign(generations=2)
    service.advance(second)
    for campaign, other in ((first, second), (second, first)):
        drawn = page(name, f"/campaigns/{campaign.ref}/")
        marks = re.findall(r'class="mark [a-z]+"', drawn)
        assert len(marks) >= campaign.generations.exclude(score_after=None).count()
        assert other.ref not in drawn
        assert f"by generation, evaluator epoch {campaign.epoch[:12]}" in drawn
        rollout = campaign.rollouts.latest("pk")
        for shown in (
            drawn,
            page(name, f"/campaigns/{campaign.ref}/generations/0/"),
            page(name, f"/rollouts/{rollout.pk}/"),
            table(campaign),
            json.dumps(as_json(campaign)),
        ):
            assert campaign.epoch[:12] in shown and other.epoch[:12] not in shown
    listed = {row.split("</tr>")[0] for row in page(name, "/campaigns/").split("<tr>")}
    for campaign in (first, second):
        (row,) = [row for row in listed if campaign.ref[:8] in row]
        assert campaign.epoch in row


def test_every_figure_of_a_proposal_names_the_epoch_that_it_is_of(service: Service, tmp_path: Path) -> None:
    first = service.run(service.campaign(generations=4))
    proposal = HiddenQuery.objects.get(campaign=first).proposal
    review(
        proposal=proposal,
        verdict=Review.Verdict.REJECT,
        reason="It is shown among others below.",
        subject_digest=proposal.subject_digest,
        by=service.reviewers[0],
    )
    new_epoch(service, tmp_path)
    for evidence in ("comparison", "public", "attribution"):
        assert json.loads(proposal.evidence.get(name=evidence).data())["evaluator"] == first.epoch
    named = f"epoch {first.epoch[:12]}"
    for address, count in (
        (f"/proposals/{proposal.ref}/", 3),
        (f"/proposals/{proposal.ref}/record/", 1),
        ("/", 1),
    ):
        assert re.sub(r"<[^>]+>", "", page("oscar", address)).count(named) == count, address
