"""Each bound exactly at its number: when a role counts, an approval is void, a change has cooled off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from governance import rules
from governance.actions import expire_due, open_proposal, promote, withdraw
from governance.actions.base import check_reason
from governance.actors import LOOP
from governance.errors import BadInput, NotAllowed
from governance.models import Person, Proposal
from governance.roles import REVIEWER
from governance.roster import RoleChange
from governance.submitting import submit_roles
from tests.governance.cast import REASON, World, approved, draft_of, make_world, ready, say
from tests.governance.proof.clock import Clock
from tests.governance.proof.crowd import OPEN_EVERY, add_proposals

pytestmark = pytest.mark.one_database

SECOND = timedelta(seconds=1)


@pytest.fixture
def clock(db: None, signer_home: Path) -> Iterator[Clock]:
    clock = Clock()
    with clock.rules():
        yield clock


@pytest.fixture
def frozen(clock: Clock) -> World:
    """The usual instance, at a standing clock."""
    return make_world()


def grant(world: World) -> Proposal:
    """The outsider as a reviewer, approved by both owners now."""
    outsider = world.cast.outsider
    change = RoleChange(outsider.ref, REVIEWER, "grant")
    proposal = submit_roles(changes=[change], summary="Asked.", by=world.cast.act("operator"))
    for owner in ("olga", "otto"):
        say(world, owner, proposal)
    return proposal


def test_what_cools_off_for_a_day_can_go_live_at_its_last_moment_and_not_before(
    frozen: World, clock: Clock
) -> None:
    proposal, by = grant(frozen), frozen.cast.act("operator")
    clock.forward(hours=24, seconds=-1)
    with pytest.raises(NotAllowed, match="cools off for 24 hours"):
        promote(proposal=proposal, reason=REASON, by=by)
    clock.forward(seconds=1)
    promote(proposal=proposal, reason=REASON, by=by)


def test_a_role_counts_from_the_moment_it_is_a_day_old(frozen: World, clock: Clock) -> None:
    proposal = grant(frozen)
    clock.forward(hours=24)
    promote(proposal=proposal, reason=REASON, by=frozen.cast.act("operator"))
    outsider = Person.objects.get(pk=frozen.cast.outsider.pk)
    clock.forward(hours=24, seconds=-1)
    assert REVIEWER not in rules.counting_roles(outsider, clock.now)
    clock.forward(seconds=1)
    assert REVIEWER in rules.counting_roles(outsider, clock.now)


def test_an_approval_is_void_at_the_moment_it_expires(frozen: World, clock: Clock) -> None:
    proposal = approved(frozen)
    clock.forward(hours=72, seconds=-1)
    assert rules.check_quorum(proposal, rules.standing(proposal))
    assert expire_due(now=clock.now) == []
    clock.forward(seconds=1)
    with pytest.raises(NotAllowed, match="0 of 1 approvals"):
        promote(proposal=proposal, reason=REASON, by=frozen.cast.act("operator"))
    assert expire_due(now=clock.now) == [proposal]


def test_a_proposal_is_past_its_date_at_that_moment(frozen: World, clock: Clock) -> None:
    proposal = ready(frozen)
    assert proposal.expires_at is not None
    clock.now = proposal.expires_at - SECOND
    rules.check_decidable(proposal)
    assert expire_due(now=clock.now) == []
    clock.forward(seconds=1)
    with pytest.raises(NotAllowed, match="expired on"):
        rules.check_decidable(proposal)
    assert expire_due(now=clock.now) == [proposal]


def test_the_inbox_may_hold_as_many_as_the_policy_says(frozen: World) -> None:
    add_proposals(frozen, 20 * OPEN_EVERY)
    rules.check_inbox()
    ready(frozen)
    with pytest.raises(NotAllowed, match="21 proposals wait"):
        rules.check_inbox()


def test_a_reason_may_be_exactly_as_long_as_it_must(frozen: World) -> None:
    assert check_reason("ten enough", 10) == "ten enough"
    with pytest.raises(BadInput, match="at least 10"):
        check_reason("nine only", 10)


def test_a_title_has_up_to_two_hundred_characters(frozen: World) -> None:
    draft = draft_of(frozen)
    with pytest.raises(BadInput, match="this one has 201"):
        open_proposal(draft=replace(draft, title="x" * 201), by=LOOP)
    proposal = open_proposal(draft=replace(draft, title="x" * 200), by=LOOP)
    withdraw(proposal=proposal, reason=REASON, by=LOOP)
    with pytest.raises(BadInput, match="this one has 0"):
        open_proposal(draft=replace(draft, title=" "), by=LOOP)
