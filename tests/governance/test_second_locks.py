"""Guards behind guards: acts wait for one another, and still each write asks whether the row is as it was read."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.utils import timezone

from governance import rules
from governance.actions import hold, open_proposal, promote, stop
from governance.actions.base import move
from governance.actions.endings import ask_to_end
from governance.actions.moves import swap_pointer
from governance.actions.promoting import _consume
from governance.actions.reverting import _lift_for
from governance.actions.upkeep import _why_expired
from governance.actors import LOOP
from governance.errors import NotAllowed, Stale
from governance.models import Halt, Hold, Person, Pointer, Proposal, Review
from governance.transitions import Status
from tests.governance.cast import BOLDER, REASON, World, approved, draft_of, ready, say

pytestmark = pytest.mark.one_database


def test_who_asks_to_end_a_stop_that_somebody_asked_to_end_meanwhile_looks_again(world: World) -> None:
    stop(scope="", reason=REASON, by=world.cast.act("rita"))
    stop(scope="elsewhere", reason=REASON, by=world.cast.act("rita"))
    read = Halt.objects.get(scope="")
    ask_to_end(Halt.objects.get(scope=""), world.cast.olga, asked="resumed_by", ended="resumed_at")
    with pytest.raises(Stale, match="at the same moment"):
        ask_to_end(read, world.cast.operator, asked="resumed_by", ended="resumed_at")
    assert Halt.objects.get(scope="elsewhere").resumed_by == []


def test_what_ended_meanwhile_is_not_ended_again(world: World) -> None:
    hold(digest=world.seed.digest, reason=REASON, by=world.cast.act("operator"))
    read = Hold.objects.get()
    Hold.objects.update(lifted_at=read.held_at)
    with pytest.raises(Stale):
        ask_to_end(read, world.cast.operator, asked="lifted_by", ended="lifted_at")


def test_a_proposal_that_was_moved_meanwhile_is_not_moved(world: World) -> None:
    read = ready(world)
    other = ready(world, BOLDER)
    Proposal.objects.filter(pk=read.pk).update(status=Status.WITHDRAWN)
    with pytest.raises(Stale, match="was ready and is withdrawn now"):
        move(read, Status.IN_REVIEW)
    other.refresh_from_db()
    assert other.status == Status.READY


def test_an_approval_is_not_used_twice(world: World) -> None:
    approved(world)
    given = list(Review.objects.all())
    _consume(given)
    with pytest.raises(Stale, match="was used already"):
        _consume(given)


def test_a_pointer_moves_from_where_it_is_only(world: World) -> None:
    others = list(Pointer.objects.exclude(key="release:digits").values_list("key", "digest", "generation"))
    with pytest.raises(Stale, match="no longer at"):
        swap_pointer("release:digits", "0" * 64, "1" * 64)
    with pytest.raises(Stale, match="Nothing was ever installed"):
        swap_pointer("release:letters", "0" * 64, "1" * 64)
    assert swap_pointer("release:digits", world.seed.digest, "1" * 64).generation == 1
    assert others == list(
        Pointer.objects.exclude(key="release:digits").values_list("key", "digest", "generation")
    )


def test_of_two_pointers_at_the_same_digest_one_moves(world: World) -> None:
    known = world.evaluator.digest
    Pointer.objects.create(key="evaluator:letters", digest=known, generation=0)
    assert swap_pointer("evaluator:digits", known, "1" * 64).generation == 1
    assert Pointer.objects.get(key="evaluator:letters").digest == known


def test_a_pointer_that_went_away_and_came_back_meanwhile_is_not_moved(world: World) -> None:
    there_and_back = iter([lambda: Pointer.objects.filter(key="release:digits").update(generation=2)])

    def meddle(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE"):
            for move in there_and_back:
                move()
        return execute(sql, *rest)

    with connection.execute_wrapper(meddle), pytest.raises(Stale, match="somebody moved it"):
        swap_pointer("release:digits", world.seed.digest, "1" * 64)
    assert Pointer.objects.get(key="release:digits").digest == world.seed.digest


def test_a_revert_lifts_no_hold_of_people(world: World) -> None:
    by = world.cast.act("operator")
    hold(digest=world.seed.digest, reason=REASON, by=by)
    _lift_for(world.seed.digest, REASON, by)
    assert Hold.objects.get().lifted_at is None


@pytest.mark.parametrize("field", ["key", "base"])
def test_what_is_open_elsewhere_or_over_another_base_is_not_what_is_proposed(
    world: World, field: str
) -> None:
    first = open_proposal(draft=draft_of(world), by=LOOP)
    assert open_proposal(draft=draft_of(world), by=LOOP) == first
    Proposal.objects.update(**{field: "0" * 64})
    assert open_proposal(draft=draft_of(world), by=LOOP) != first


def test_what_is_held_is_not_promoted_though_its_proposal_was_not_quarantined(world: World) -> None:
    proposal = approved(world)
    Hold.objects.create(digest=proposal.target, reason=REASON, held_by=world.cast.operator.ref)
    with pytest.raises(NotAllowed, match="It is held since"):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))
    assert Pointer.objects.get(key=proposal.key).digest == world.seed.digest


def test_a_verdict_on_another_subject_neither_counts_nor_stands_in_the_way(world: World) -> None:
    proposal = ready(world)
    say(world, "rita", proposal)
    Review.objects.update(subject_digest="0" * 64)
    assert rules.counted_approvals(proposal, rules.standing(proposal)) == []
    Proposal.objects.update(status=Status.READY)
    proposal.refresh_from_db()
    rules.check_may_review(proposal, world.cast.act("rita"))


def test_nothing_is_promoted_while_stopped_though_its_proposal_was_not_quarantined(world: World) -> None:
    proposal = approved(world)
    Halt.objects.create(scope="digits", reason=REASON, stopped_by=world.cast.rita.ref)
    with pytest.raises(NotAllowed, match="stopped"):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))
    assert Pointer.objects.get(key=proposal.key).digest == world.seed.digest


def test_what_is_live_is_not_offered_for_withdrawal_and_a_closed_account_withdraws_nothing(
    world: World,
) -> None:
    proposal = approved(world)
    operator = world.cast.act("operator")
    Proposal.objects.update(proposed_by=world.cast.rita.ref)
    get_user_model().objects.filter(pk=world.cast.rita.user_id).update(is_active=False)
    with pytest.raises(NotAllowed, match="not active"):
        rules.check_may_withdraw(
            Proposal.objects.get(), Person.objects.get(ref=world.cast.rita.ref).actor("session")
        )
    get_user_model().objects.update(is_active=True)
    promote(proposal=proposal, reason=REASON, by=operator)
    with pytest.raises(NotAllowed, match="cannot become withdrawn"):
        rules.check_may_withdraw(Proposal.objects.get(), operator)


def test_neither_rejections_nor_verdicts_of_those_who_took_part_count_as_approvals(world: World) -> None:
    proposal = approved(world)
    (given,) = rules.counted_approvals(proposal, rules.standing(proposal))
    Review.objects.update(verdict=Review.Verdict.REJECT)
    assert rules.counted_approvals(proposal, rules.standing(proposal)) == []
    Review.objects.update(verdict=Review.Verdict.APPROVE)
    proposal.excluded = [*proposal.excluded, given.person.ref]
    assert rules.counted_approvals(proposal, rules.standing(proposal)) == []


def test_what_is_decidable_without_a_date_or_cools_off_without_time_or_people_is_not_held_up(
    world: World,
) -> None:
    undated = Proposal(status=Status.READY, expires_at=None)
    rules.check_decidable(undated)
    assert _why_expired(undated, timezone.now()) == ""
    proposal = approved(world)
    now = rules.standing(proposal)
    early = [Review(created_at=now.now + timedelta(hours=1))]
    for lane in (
        replace(now.lane, cooling_off=timedelta(0)),
        replace(now.lane, cooling_off=timedelta(1), approvals=0),
    ):
        rules.check_cooled_off(early, replace(now, lane=lane))
    with pytest.raises(NotAllowed, match="cools off"):
        rules.check_cooled_off(early, replace(now, lane=replace(now.lane, cooling_off=timedelta(1))))


def test_a_subject_exchanged_in_the_rows_of_a_proposal_and_of_its_approvals_is_not_promoted(
    world: World,
) -> None:
    proposal = approved(world)
    for rows in (Proposal.objects, Review.objects):
        rows.update(subject_digest="0" * 64)
    proposal.refresh_from_db()
    with pytest.raises(NotAllowed, match="subject digest are not what the log recorded"):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))
    assert Pointer.objects.get(key=proposal.key).digest == world.seed.digest


def test_an_approval_put_into_the_database_is_not_used(world: World) -> None:
    proposal = approved(world)
    Review.objects.filter(proposal=proposal).update(person=world.cast.ravi)
    with pytest.raises(NotAllowed, match="The log knows no such approval by ravi"):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))


def test_a_rejection_that_the_database_calls_an_approval_is_not_used(world: World) -> None:
    proposal = ready(world)
    say(world, "rita", proposal, "reject")
    Review.objects.update(verdict=Review.Verdict.APPROVE)
    Proposal.objects.update(status="approved")
    with pytest.raises(NotAllowed, match="The log knows no such approval by rita"):
        promote(proposal=Proposal.objects.get(), reason=REASON, by=world.cast.act("operator"))


def test_a_stop_of_one_task_stops_nothing_on_another(world: World) -> None:
    stop(scope="letters", reason=REASON, by=world.cast.act("rita"))
    assert open_proposal(draft=draft_of(world), by=LOOP).status == Status.DRAFT
    rules.check_not_stopped("digits")
    with pytest.raises(NotAllowed, match="The task letters was stopped"):
        rules.check_not_stopped("letters")
