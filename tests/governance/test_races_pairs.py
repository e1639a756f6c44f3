"""Pairs of acts at the same moment, each on a connection of its own: one wins, the other is told, the log agrees."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from django.db import connection

from governance.actions import hold, lift_hold, promote, resume, revert, stop, withdraw
from governance.actors import LOOP
from governance.assurance.judged_by import bytes_of
from governance.assurance.replay import replay
from governance.errors import BadInput, GovernanceError
from governance.models import AuditEntry, AuditHead, Halt, Hold, Pointer, PointerMove, Proposal, RoleGrant
from governance.roles import OPERATOR, REVIEWER
from governance.roster import RoleChange
from governance.submitting import submit_roles
from tests.governance.cast import (
    BETTER,
    BOLDER,
    REASON,
    World,
    approved,
    make_world,
    promoted,
    ready,
    say,
)
from tests.governance.proof.clock import Clock
from tests.snapshot import remembered

Act = Callable[[], object]
ROUNDS = 3


@pytest.fixture
def world(transactional_db: None, signer_home: Path) -> World:
    """The usual instance with a second operator."""
    return remembered("lasting operators", signer_home, lambda: make_world({"otto": (OPERATOR,)}))


def together(*acts: Act) -> list[GovernanceError | None]:
    """Run the acts at the same moment in threads with connections of their own; the refusal that each one got."""
    ended: list[GovernanceError | None] = [None] * len(acts)
    start = threading.Barrier(len(acts))

    def run(place: int, act: Act) -> None:
        try:
            connection.ensure_connection()
            start.wait(20)
            act()
        except GovernanceError as error:
            ended[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=each) for each in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return ended


def one_refusal(ended: list[GovernanceError | None]) -> GovernanceError:
    """The only refusal that there was; it is one sentence, or more, that a person can read."""
    (refused,) = [error for error in ended if error is not None]
    assert str(refused).endswith(".") and "\n" not in str(refused)
    return refused


def check_log(refused: GovernanceError | None = None) -> None:
    """The log is gapless, follows the rules, gives the live pointers, and has the refusal."""
    entries = [row.entry() for row in AuditEntry.objects.order_by("seq")]
    assert [entry["seq"] for entry in entries] == list(range(len(entries)))
    assert AuditHead.objects.get(pk=1).size == len(entries)
    told = replay(entries, bytes_of)
    assert told.broken == []
    live = {pointer.key: (pointer.digest, pointer.generation) for pointer in Pointer.objects.all()}
    assert {key: (past.live, past.generation) for key, past in told.pointers.items()} == live
    moves = PointerMove.objects.order_by("key", "generation")
    for before, after in pairwise(moves):
        assert before.key != after.key or before.digest == after.previous
    denied = [entry["reason"] for entry in entries if entry["outcome"] == "denied"]
    assert denied == ([str(refused)] if refused and not isinstance(refused, BadInput) else [])


def test_a_proposal_withdrawn_while_its_last_approval_is_given_ends_one_way(world: World) -> None:
    proposal = ready(world)
    ended = together(
        lambda: say(world, "rita", Proposal.objects.get(pk=proposal.pk)),
        lambda: withdraw(proposal=proposal, reason=REASON, by=LOOP),
    )
    proposal.refresh_from_db()
    assert (
        proposal.status == "withdrawn"
    )  # an approved proposal can still be withdrawn, a withdrawn one not approved
    refused = next((error for error in ended if error), None)
    assert ended[1] is None
    check_log(refused)


def test_a_promotion_and_a_withdrawal_leave_one_of_them(world: World) -> None:
    proposal = approved(world)
    refused = one_refusal(
        together(
            lambda: promote(proposal=proposal, reason=REASON, by=world.cast.act("operator")),
            lambda: withdraw(proposal=proposal, reason=REASON, by=LOOP),
        )
    )
    proposal.refresh_from_db()
    assert (proposal.status == "promoted") == (Pointer.objects.get(key="release:digits").generation == 1)
    assert proposal.status in {"promoted", "withdrawn"}
    check_log(refused)


def test_a_promotion_and_a_revert_from_the_same_live_release_follow_one_another(world: World) -> None:
    promoted(world)
    newer = approved(world, BOLDER, old=BETTER)
    ended = together(
        lambda: promote(proposal=newer, reason=REASON, by=world.cast.act("operator")),
        lambda: revert(
            key="release:digits", to_digest=world.seed.digest, reason=REASON, by=world.cast.act("otto")
        ),
    )
    assert ended[1] is None  # the way back is never in the way
    assert Pointer.objects.get(key="release:digits").digest == world.seed.digest
    newer.refresh_from_db()
    assert newer.status == ("stale" if ended[0] else "reverted")
    check_log(ended[0])


@pytest.mark.parametrize("round", range(ROUNDS))
def test_a_stop_and_a_promotion_do_not_pass_each_other(world: World, round: int) -> None:
    proposal = approved(world)
    ended = together(
        lambda: stop(scope="", reason=REASON, by=world.cast.act("ravi")),
        lambda: promote(proposal=proposal, reason=REASON, by=world.cast.act("operator")),
    )
    assert ended[0] is None  # a stop is never too late to be a stop
    proposal.refresh_from_db()
    assert proposal.status == ("quarantined" if ended[1] else "promoted")
    check_log(ended[1])


@pytest.mark.parametrize("round", range(ROUNDS))
def test_a_hold_and_a_promotion_do_not_pass_each_other(world: World, round: int) -> None:
    proposal = approved(world)
    ended = together(
        lambda: hold(digest=proposal.target, reason=REASON, by=world.cast.act("otto")),
        lambda: promote(proposal=proposal, reason=REASON, by=world.cast.act("operator")),
    )
    assert ended[0] is None
    proposal.refresh_from_db()
    assert proposal.status == ("quarantined" if ended[1] else "promoted")
    check_log(ended[1])


def test_one_person_who_asks_to_resume_in_two_windows_is_one_person(world: World) -> None:
    stop(scope="", reason=REASON, by=world.cast.act("rita"))
    by = world.cast.act("operator")
    refused = one_refusal(together(*[lambda: resume(scope="", reason=REASON, by=by)] * 2))
    halt = Halt.objects.get()
    assert (halt.resumed_by, halt.resumed_at) == ([by.ref], None)
    check_log(refused)


def test_two_people_who_ask_to_resume_at_once_resume(world: World) -> None:
    stop(scope="", reason=REASON, by=world.cast.act("rita"))
    assert together(
        *[
            lambda name=name: resume(scope="", reason=REASON, by=world.cast.act(name))
            for name in ("operator", "olga")
        ]
    ) == [None, None]
    assert Halt.objects.get().resumed_at is not None
    check_log()


def test_a_third_person_who_asks_to_resume_is_told_that_it_is_over(world: World) -> None:
    stop(scope="", reason=REASON, by=world.cast.act("rita"))
    refused = one_refusal(
        together(
            *[
                lambda name=name: resume(scope="", reason=REASON, by=world.cast.act(name))
                for name in ("operator", "olga", "otto")
            ]
        )
    )
    assert str(refused) == "Everything is not stopped."
    assert len(Halt.objects.get().resumed_by) == 2
    check_log(refused)


def test_a_hold_is_lifted_by_two_people_however_fast_they_are(world: World) -> None:
    hold(digest=world.seed.digest, reason=REASON, by=world.cast.act("operator"))
    by = world.cast.act("operator")
    refused = one_refusal(together(*[lambda: lift_hold(digest=world.seed.digest, reason=REASON, by=by)] * 2))
    assert Hold.objects.get().lifted_at is None
    check_log(refused)
    lift_hold(digest=world.seed.digest, reason=REASON, by=world.cast.act("otto"))
    assert Hold.objects.get().lifted_at is not None


def test_of_two_rosters_approved_on_the_same_roster_one_comes_into_force(
    transactional_db: None, signer_home: object
) -> None:
    clock = Clock()
    with clock.rules():
        world = make_world({"otto": (OPERATOR,)})
        both = []
        for name in ("outsider", "ada"):
            change = RoleChange(getattr(world.cast, name).ref, REVIEWER, "grant")
            proposal = submit_roles(changes=[change], summary="Asked.", by=world.cast.act("operator"))
            for owner in ("olga", "otto"):
                say(world, owner, proposal)
            both.append(proposal)
        clock.forward(hours=25)
        refused = one_refusal(
            together(
                *[
                    lambda each=each: promote(proposal=each, reason=REASON, by=world.cast.act("operator"))
                    for each in both
                ]
            )
        )
        assert Pointer.objects.get(key="roster").generation == 1
        assert RoleGrant.objects.exclude(granted_by="setup").count() == 1
        assert sorted(Proposal.objects.values_list("status", flat=True)) == ["promoted", "stale"]
        check_log(refused)


def test_of_two_reverts_at_once_the_second_is_told_that_it_is_live_already(world: World) -> None:
    promoted(world)
    refused = one_refusal(
        together(
            *[
                lambda name=name: revert(
                    key="release:digits", to_digest=world.seed.digest, reason=REASON, by=world.cast.act(name)
                )
                for name in ("operator", "otto")
            ]
        )
    )
    assert "is live already" in str(refused)
    assert Pointer.objects.get(key="release:digits").generation == 2
    check_log(refused)
