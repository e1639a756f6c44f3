"""The table of states, walked pair by pair, and moves by compare and swap."""

from __future__ import annotations

import pytest

from governance.actions.base import move
from governance.actions.moves import swap_pointer
from governance.errors import NotAllowed, Stale
from governance.models import Pointer, Proposal
from governance.transitions import DECIDABLE, NEXT, OPEN, Status
from tests.governance.cast import World, ready


def test_every_ordered_pair_of_states_moves_exactly_when_the_table_says_so(world: World) -> None:
    proposal = ready(world)
    for old in Status:
        for new in Status:
            Proposal.objects.filter(pk=proposal.pk).update(status=old)
            proposal.refresh_from_db()
            if new in NEXT[old]:
                move(proposal, new)
                assert proposal.status == new
            else:
                with pytest.raises(NotAllowed, match="cannot become"):
                    move(proposal, new)
                proposal.refresh_from_db()
                assert proposal.status == old


def test_the_table_knows_every_state_and_no_state_follows_itself() -> None:
    assert set(NEXT) == set(Status)
    assert all(old not in following for old, following in NEXT.items())


def test_a_proposal_cannot_be_decided_before_it_is_ready() -> None:
    decided = {Status.APPROVED, Status.REJECTED, Status.CHANGES_REQUESTED, Status.PROMOTING, Status.PROMOTED}
    assert not decided & NEXT[Status.DRAFT]
    assert not decided & NEXT[Status.VERIFYING]
    assert DECIDABLE <= OPEN


def test_only_an_approved_proposal_can_go_live() -> None:
    assert [old for old in Status if Status.PROMOTING in NEXT[old]] == [Status.APPROVED]
    assert [old for old in Status if Status.PROMOTED in NEXT[old]] == [Status.PROMOTING]


def test_everything_can_be_quarantined_and_nothing_leaves_quarantine() -> None:
    assert all(Status.QUARANTINED in NEXT[old] for old in Status if old != Status.QUARANTINED)
    assert not NEXT[Status.QUARANTINED]


def test_of_two_who_move_the_same_proposal_the_second_is_told(world: World) -> None:
    first = ready(world)
    second = Proposal.objects.get(pk=first.pk)
    move(first, Status.IN_REVIEW)
    with pytest.raises(Stale, match="was ready and is in review now; somebody was faster"):
        move(second, Status.REJECTED)


def test_a_pointer_that_moved_meanwhile_is_not_moved(world: World) -> None:
    with pytest.raises(Stale, match="is no longer at ffffffffffff; somebody moved it"):
        swap_pointer("release:digits", "f" * 64, "e" * 64)
    assert Pointer.objects.get(key="release:digits").digest == world.seed.digest
    with pytest.raises(Stale, match="Nothing was ever installed"):
        swap_pointer("release:other", "f" * 64, "e" * 64)
    assert swap_pointer("release:digits", world.seed.digest, "e" * 64).generation == 1
