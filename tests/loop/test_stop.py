"""The stop switch over a running campaign, and the pace that the reviewers' inbox sets."""

from __future__ import annotations

import pytest

from governance import actions
from governance.actors import SETUP, Actor
from governance.errors import NotAllowed
from governance.models import Proposal
from governance.rules import check_inbox
from loop.advance import advance_once
from loop.campaigns import Act, next_act
from loop.errors import Fenced
from loop.leases import held, take
from loop.models import ArchiveEntry, Campaign, Generation, Verification
from loop.verification import verify
from tests.loop.conftest import Service

pytestmark = pytest.mark.one_database

MOST = 20
WHY = "Something looks wrong tonight."


def second_operator() -> Actor:
    """Somebody else who may resume."""
    person = actions.create_person(username="otis", password="correct-horse-otis", by=SETUP)
    actions.grant_role(person=person, role="operator", by=SETUP)
    return person.actor("command")


def resume(service: Service, scope: str = "") -> None:
    """Two people resume."""
    for by in (service.operator, second_operator()):
        actions.resume(scope=scope, reason=WHY, by=by)


def archive(campaign: Campaign) -> list[tuple[str, float]]:
    """What a campaign accepted."""
    return list(
        ArchiveEntry.objects.filter(campaign=campaign).order_by("pk").values_list("release__digest", "score")
    )


@pytest.mark.parametrize("scope", ["", "coins"])
def test_a_stopped_campaign_does_nothing_and_goes_on_when_resumed(service: Service, scope: str) -> None:
    campaign = service.campaign(generations=2)
    advance_once(campaign)
    before = list(Generation.objects.values())
    actions.stop(scope=scope, reason=WHY, by=service.reviewers[0])
    assert advance_once(campaign) == []
    assert list(Generation.objects.values()) == before
    resume(service, scope)
    assert service.run(campaign).status == Campaign.Status.FINISHED
    assert archive(campaign)


def test_a_step_that_was_under_way_when_the_stop_came_is_refused_at_its_commit(service: Service) -> None:
    campaign = service.campaign(generations=1)
    with held(Campaign, campaign.pk) as lease:
        assert lease is not None
        actions.stop(scope="", reason=WHY, by=service.operator)
        assert not lease.renew()
        with pytest.raises(Fenced, match="stopped by a person"), lease.commit():
            raise AssertionError("the block must not run")
    assert take(Campaign, campaign.pk) is None


def test_a_verification_that_was_stopped_ends_without_a_bit_for_the_loop(service: Service) -> None:
    campaign = service.campaign(generations=4)
    queue = service.advance(campaign)
    (pk,) = [int(key) for _, function, key in queue if function == "verify"]
    actions.stop(scope="coins", reason=WHY, by=service.operator)
    assert verify(pk) is False
    resume(service, "coins")
    assert verify(pk) is True
    row = Verification.objects.get(pk=pk)
    assert (row.status, row.bit, row.query.proposal.status) == ("failed", False, "quarantined")
    assert service.run(campaign).status == Campaign.Status.FINISHED


def test_no_campaign_starts_while_its_task_is_stopped(service: Service) -> None:
    actions.stop(scope="coins", reason=WHY, by=service.operator)
    with pytest.raises(NotAllowed, match="The task coins was stopped"):
        service.campaign()


def test_the_loop_goes_at_the_reviewers_pace(service: Service) -> None:
    campaign = service.campaign(generations=2)
    waiting(service, MOST + 1)
    with pytest.raises(NotAllowed, match="21 proposals wait for people and the policy allows 20"):
        check_inbox()
    service.advance(campaign)
    assert next_act(campaign).act is Act.WAIT
    Proposal.objects.all().delete()
    assert service.run(campaign).status == Campaign.Status.FINISHED


def waiting(service: Service, count: int) -> None:
    """So many proposals that nobody has decided about."""
    for number in range(count):
        Proposal.objects.create(
            ref=f"waiting-{number}",
            kind="promote",
            status="ready",
            lane="harness",
            title="Waits",
            task=service.task,
            key="release:coins",
            target="0" * 64,
            subject_digest="0" * 64,
            proposed_by="loop",
        )
