"""Breaking the glass: three people, a long reason, a few hours."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from governance.actions import acknowledge, break_glass, hold, install_task, promote, revert_due, stop
from governance.actors import SETUP
from governance.assurance.judged_by import bytes_of
from governance.assurance.replay import replay
from governance.errors import BadInput, NotAllowed
from governance.models import AuditEntry, Proposal
from governance.pointers import live_release
from governance.roles import OPERATOR
from tests.governance.cast import BOLDER, REASON, World, make_release, make_world, say
from tests.snapshot import remembered

MORE = {"rita": (OPERATOR,), "otto": (OPERATOR,)}
WHY = "Every answer since midnight is wrong and no former release reads the new scans."


@pytest.fixture
def world(db: None, signer_home: Path) -> World:
    """The usual instance with a second and third operator."""
    return remembered("three operators", signer_home, lambda: make_world(MORE))


def broken(world: World) -> Proposal:
    """An emergency that is live."""
    release = make_release(world.task, BOLDER)
    proposal = break_glass(release=release, reason=WHY, by=world.cast.act("operator"))
    for name in ("rita", "otto"):
        say(world, name, proposal)
    promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))
    proposal.refresh_from_db()
    return proposal


def followed_the_rules() -> list[str]:
    """What the log's replay complains of."""
    return replay((row.entry() for row in AuditEntry.objects.order_by("seq")), bytes_of).broken


def test_an_emergency_goes_live_unverified_and_goes_back_by_itself(world: World) -> None:
    proposal = broken(world)
    assert live_release(world.task) == proposal.release
    assert proposal.review_due and proposal.reverts_at is not None
    assert revert_due(now=proposal.reverts_at - timedelta(seconds=1)) == []
    (back,) = revert_due(now=proposal.reverts_at)
    assert live_release(world.task) == world.seed
    proposal.refresh_from_db()
    assert (proposal.status, back.review_due, back.proposed_by) == ("reverted", True, "clock")
    (complaint,) = followed_the_rules()  # the clock was moved by hand, which the log shows
    assert "the emergency lasts until" in complaint


def test_what_was_reviewed_or_replaced_is_not_taken_back_whatever_its_row_says_of_its_end(
    world: World,
) -> None:
    proposal = broken(world)
    assert proposal.reverts_at is not None
    for reviewed_or_replaced in ({"review_due": False}, {"review_due": True, "status": "superseded"}):
        Proposal.objects.filter(pk=proposal.pk).update(**reviewed_or_replaced)
        assert revert_due(now=proposal.reverts_at) == []
    assert live_release(world.task) == proposal.release


def test_an_emergency_that_a_reviewer_looked_at_stays(world: World) -> None:
    proposal = broken(world)
    with pytest.raises(NotAllowed, match="rita approved this in the emergency"):
        acknowledge(proposal=proposal, reason=REASON, by=world.cast.act("rita"))
    acknowledge(proposal=proposal, reason=REASON, by=world.cast.act("ravi"))
    assert revert_due(now=timezone.now() + timedelta(days=9)) == []
    assert live_release(world.task) == proposal.release
    assert followed_the_rules() == []


def test_whoever_breaks_the_glass_does_not_count(world: World) -> None:
    proposal = break_glass(
        release=make_release(world.task, BOLDER), reason=WHY, by=world.cast.act("operator")
    )
    with pytest.raises(NotAllowed, match="somebody else must decide"):
        say(world, "operator", proposal)
    say(world, "rita", proposal)
    with pytest.raises(NotAllowed, match="only an approved one"):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))


def test_an_emergency_needs_an_operator_a_long_reason_and_another_release(world: World) -> None:
    release = make_release(world.task, BOLDER)
    with pytest.raises(NotAllowed, match="needs the role operator"):
        break_glass(release=release, reason=WHY, by=world.cast.act("ravi"))
    with pytest.raises(BadInput, match="at least 40 characters"):
        break_glass(release=release, reason=REASON, by=world.cast.act("operator"))
    with pytest.raises(BadInput, match="is live already"):
        break_glass(release=world.seed, reason=WHY, by=world.cast.act("operator"))


def test_an_emergency_is_no_way_to_install_the_first_release(world: World) -> None:
    other = install_task(spec={"id": "other"}, spec_digest="0" * 64, by=SETUP)
    with pytest.raises(BadInput, match="Nothing is live on other that this could replace"):
        break_glass(release=make_release(other, BOLDER), reason=WHY, by=world.cast.act("operator"))


def test_an_emergency_does_not_bring_back_what_people_hold(world: World) -> None:
    release = make_release(world.task, BOLDER)
    hold(digest=release.digest, reason=REASON, by=world.cast.act("operator"))
    with pytest.raises(NotAllowed, match="It is held since"):
        break_glass(release=release, reason=WHY, by=world.cast.act("operator"))
    assert not Proposal.objects.filter(kind=Proposal.Kind.BREAK_GLASS).exists()


def test_no_glass_is_broken_while_everything_is_stopped(world: World) -> None:
    release = make_release(world.task, BOLDER)
    stop(scope="", reason=REASON, by=world.cast.act("rita"))
    with pytest.raises(NotAllowed, match="two people can resume"):
        break_glass(release=release, reason=WHY, by=world.cast.act("operator"))


def test_an_emergency_that_people_hold_meanwhile_does_not_go_live(world: World) -> None:
    release = make_release(world.task, BOLDER)
    proposal = break_glass(release=release, reason=WHY, by=world.cast.act("operator"))
    for name in ("rita", "otto"):
        say(world, name, proposal)
    hold(digest=release.digest, reason=REASON, by=world.cast.act("operator"))
    with pytest.raises(NotAllowed, match="only an approved one"):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))
    assert live_release(world.task) == world.seed
