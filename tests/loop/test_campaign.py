"""Whole campaigns on the task `coins`: real sandbox, real git, real database, no model."""

from __future__ import annotations

import json
from datetime import timedelta

import git
import pytest
from django.utils import timezone

from governance import actions
from governance.errors import NotAllowed
from governance.models import AuditEntry, Proposal, Review, Version
from governance.pointers import live_release
from loop import advance, campaigns, generation
from loop.advance import Queued
from loop.errors import TaskError
from loop.installation import repo_of
from loop.installed import open_task
from loop.leases import Lease, take
from loop.live import follow_live
from loop.models import ArchiveEntry, Campaign, Generation, HiddenQuery, Rollout, Verification
from tests.loop.conftest import Service


def proposal_of(campaign: Campaign) -> Proposal:
    """The proposal that a campaign ended with."""
    return HiddenQuery.objects.get(campaign=campaign).proposal


def test_a_campaign_improves_the_harness_and_ends_with_a_proposal(service: Service) -> None:
    campaign = service.run(service.campaign())
    assert campaign.status == Campaign.Status.FINISHED
    rows = list(campaign.generations.order_by("number"))
    assert rows[0].verdict == Generation.Verdict.BASELINE
    assert any(row.verdict == Generation.Verdict.KEPT for row in rows)
    proposal = proposal_of(campaign)
    assert proposal.status == "ready"
    assert {item.name for item in proposal.evidence.all()} >= {
        "comparison", "public", "attribution", "ledger", "cost", "decision", "not_tested", "diff", "detectors",
    }  # fmt: skip
    assert "waits for review" in campaign.status_reason
    hidden = json.loads(bytes(proposal.evidence.get(name="comparison").body))["sandbox"]
    public = Rollout.objects.filter(campaign=campaign, score__isnull=False)[0].provenance
    assert hidden == {"backend": public["backend"], "ok": True, **public["sandbox"]}
    assert {"kernel", "boundary", "worker", "memory", "seccomp"} <= public["sandbox"].keys()


@pytest.mark.one_database
def test_no_generation_builds_on_a_worse_one(service: Service) -> None:
    campaign = service.run(service.campaign(generations=6))
    best = -1.0
    for row in campaign.generations.order_by("number"):
        if row.number > 0:
            assert row.score_before == best
        if row.verdict in {Generation.Verdict.KEPT, Generation.Verdict.BASELINE}:
            assert row.score_after is not None
            best = max(best, row.score_after)


@pytest.mark.one_database
def test_each_harness_rewrite_is_one_commit_with_its_trailers(service: Service) -> None:
    campaign = service.run(service.campaign())
    kept = campaign.generations.filter(lever="harness", number__gt=0).first()
    assert kept is not None
    assert kept.candidate is not None
    assert kept.parent is not None
    with git.Repo(repo_of(service.task).path) as repo:
        commit = repo.commit(kept.candidate.harness.manifest["commit"])
        trailers = commit.trailers_dict
        assert commit.author.name == "feedback:search"
        assert trailers["Campaign"] == [campaign.ref]
        assert trailers["Generation"] == [str(kept.number)]
        assert trailers["Parent"] == [kept.parent.digest]
        assert commit.parents[0].hexsha == kept.parent.harness.manifest["commit"]


def test_the_same_campaign_gives_the_same_archive_whoever_interrupts_it(service: Service) -> None:
    """Before every single act another worker takes the campaign and dies: its lease has to run out first."""
    straight = service.run(service.campaign())
    scores = [(row.generation.number, row.release.digest, row.score) for row in archive(straight)]
    again = service.campaign()
    queue: list[Queued] = [("loop", "advance", again.ref)]
    while queue and queue[0][1] == "advance":
        assert take(Campaign, again.pk) is not None
        assert advance.advance_once(again) == []
        Campaign.objects.filter(pk=again.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        queue += advance.advance_once(Campaign.objects.get(ref=queue.pop(0)[2]))
    assert [(row.generation.number, row.release.digest, row.score) for row in archive(again)] == scores
    again.refresh_from_db()
    assert "is proposed already" in again.status_reason


def archive(campaign: Campaign) -> list[ArchiveEntry]:
    """The archive in the order of its generations."""
    return list(ArchiveEntry.objects.filter(campaign=campaign).order_by("generation__number", "pk"))


def test_a_worker_that_lost_its_fence_commits_nothing(service: Service) -> None:
    campaign = service.campaign()
    lease = take(Campaign, campaign.pk)
    assert lease is not None
    Campaign.objects.filter(pk=campaign.pk).update(fence=lease.fence + 1)
    first = campaign.generations.get(number=0)
    turn = advance._turn(campaign, first, lease)
    with pytest.raises(Exception, match="taken over by another worker"):
        generation.run_step(turn)
    first.refresh_from_db()
    assert first.step == Generation.Step.PREPARE
    assert not Lease(Campaign, campaign.pk, lease.fence, lease.task).renew()


@pytest.mark.one_database
def test_a_step_that_keeps_killing_its_workers_ends_its_generation(service: Service) -> None:
    campaign = service.campaign(generations=1)
    campaign.generations.update(attempts=generation.MOST_ATTEMPTS)
    service.run(campaign)
    first = campaign.generations.get(number=0)
    assert first.verdict == Generation.Verdict.FAILED
    assert "none finished it" in first.reason
    assert campaign.status == Campaign.Status.FAILED


@pytest.mark.one_database
def test_a_spent_budget_ends_the_campaign_and_names_the_budget(service: Service) -> None:
    campaign = service.run(service.campaign(generations=6, wall_s=0.01))
    assert campaign.generations.count() == 1
    assert "wall time" in campaign.status_reason


@pytest.mark.one_database
def test_a_contract_with_more_hidden_queries_than_the_policy_allows_is_refused(service: Service) -> None:
    with pytest.raises(TaskError, match="policy allows 10 hidden queries"):
        service.campaign(hidden_queries=11)
    assert not Campaign.objects.exists()


@pytest.mark.one_database
def test_two_campaigns_on_one_task_do_not_run_at_once(service: Service) -> None:
    service.campaign()
    with pytest.raises(TaskError, match="already running"):
        service.campaign()


@pytest.mark.one_database
def test_a_stopped_campaign_does_nothing_more(service: Service) -> None:
    campaign = service.campaign()
    campaigns.stop(campaign, "The task's data are being corrected.", service.operator)
    assert advance.advance_once(campaign) == []
    with pytest.raises(TaskError, match="not running"):
        campaigns.stop(campaign, "Once more for good measure.", service.operator)


@pytest.mark.one_database
def test_the_contract_is_in_the_log_before_the_first_rollout(service: Service) -> None:
    campaign = service.campaign()
    entry = AuditEntry.objects.get(action="campaign.start", object_id=campaign.ref)
    assert entry.entry()["after"] == campaign.contract_digest
    assert not Rollout.objects.exists()


@pytest.mark.one_database
def test_the_loop_learns_one_bit_and_no_hidden_score(service: Service) -> None:
    """The hidden figures are on the proposal alone: no table of the loop holds them."""
    campaign = service.run(service.campaign())
    proposal = proposal_of(campaign)
    evidence = {item.name: json.loads(item.data()) for item in proposal.evidence.all()}
    hidden_score = evidence["comparison"]["score_after"]
    assert Verification.objects.get(query__campaign=campaign).bit is True
    seen = json.dumps(
        [
            list(Campaign.objects.values()),
            list(Generation.objects.values()),
            list(Rollout.objects.values()),
            list(HiddenQuery.objects.values()),
            list(Verification.objects.values()),
        ],
        default=str,
    )
    assert str(hidden_score) not in seen
    assert not Rollout.objects.filter(split="hidden").exists()


@pytest.mark.one_database
def test_hidden_reads_are_in_the_log(service: Service) -> None:
    campaign = service.run(service.campaign())
    first, again = (row.entry() for row in AuditEntry.objects.filter(action="hidden.read").order_by("seq"))
    assert first["actor"]["ref"] == again["actor"]["ref"] == "verifier"
    assert first["detail"]["campaign"] == again["detail"]["campaign"] == campaign.ref


@pytest.mark.one_database
def test_a_verification_that_finds_another_evaluator_in_force_fails(service: Service) -> None:
    campaign = service.campaign()
    queue = service.advance(campaign)
    contract = Campaign.objects.get(pk=campaign.pk).contract
    Campaign.objects.filter(pk=campaign.pk).update(contract={**contract, "evaluator": "0" * 64})
    service.verify(campaign, queue)
    proposal = proposal_of(campaign)
    assert proposal.status == "failed"
    assert "evaluator changed" in proposal.status_reason
    assert Verification.objects.get(query__campaign=campaign).bit is False


@pytest.mark.one_database
def test_a_campaign_that_finds_nothing_better_proposes_nothing(service: Service) -> None:
    campaign = service.run(service.campaign(generations=0))
    assert campaign.status == Campaign.Status.FINISHED
    assert "Nothing better" in campaign.status_reason
    assert not Proposal.objects.exists()


@pytest.mark.one_database
def test_the_starter_of_a_campaign_cannot_approve_its_release(service: Service) -> None:
    proposal = proposal_of(service.run(service.campaign()))
    assert service.operator.ref in proposal.excluded
    with pytest.raises(NotAllowed):
        actions.review(
            proposal=proposal,
            verdict=Review.Verdict.APPROVE,
            reason="I started it and I like it.",
            subject_digest=proposal.subject_digest,
            by=service.operator,
        )


def test_an_approved_release_goes_live_and_back(service: Service) -> None:
    before = live_release(service.task)
    proposal = proposal_of(service.run(service.campaign()))
    actions.review(
        proposal=proposal,
        verdict=Review.Verdict.APPROVE,
        reason="The gain on the hidden set is real.",
        subject_digest=proposal.subject_digest,
        by=service.reviewers[0],
    )
    proposal.refresh_from_db()
    actions.promote(proposal=proposal, reason="Approved, so it goes live.", by=service.operator)
    assert live_release(service.task).digest == proposal.target
    assert proposal.release is not None
    assert follow_live() == ["coins"]
    assert repo_of(service.task).live() == proposal.release.harness.manifest["commit"]
    assert follow_live() == []
    actions.revert(
        key=f"release:{service.task.slug}",
        to_digest=before.digest,
        reason="Back to the seed.",
        by=service.operator,
    )
    assert live_release(service.task) == before


@pytest.mark.one_database
def test_the_seed_harness_is_known_by_its_files(service: Service) -> None:
    version = Version.objects.get(kind="harness", task=service.task)
    assert set(version.manifest["files"]) == {"main.py", "settings.toml"}
    assert open_task(service.task).spec.metric.name == "accuracy"
