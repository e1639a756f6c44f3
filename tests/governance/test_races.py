"""Two at once, on the real database: one wins, the other is told."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from governance.actions import promote, revert, review, use_code
from governance.audit.log import AuditEntry
from governance.models import Pointer, PointerMove, Proposal, Review
from tests.governance.cast import BOLDER, REASON, World, approved, make_adapter, promoted, ready
from tests.governance.desk.factor_helpers import code_of, give_authenticator
from tests.governance.together import together


def test_a_double_click_on_promote_moves_the_pointer_once(lasting_world: World) -> None:
    world = lasting_world
    proposal = approved(world)
    by = world.cast.act("operator")
    refused = together(*[lambda: promote(proposal=proposal, reason=REASON, by=by)] * 3)
    assert len(refused) == 2
    assert PointerMove.objects.filter(key="release:digits", kind="promote").count() == 1
    assert Pointer.objects.get(key="release:digits").generation == 1
    assert AuditEntry.objects.filter(action="pointer.move", outcome="denied").count() == 2


def test_of_two_approved_proposals_one_goes_live_and_the_other_is_stale(lasting_world: World) -> None:
    world = lasting_world
    first, second = approved(world), approved(world, BOLDER)
    by = world.cast.act("operator")
    refused = together(
        lambda: promote(proposal=first, reason=REASON, by=by),
        lambda: promote(proposal=second, reason=REASON, by=by),
    )
    assert len(refused) == 1
    statuses = sorted(Proposal.objects.values_list("status", flat=True))
    assert statuses == ["promoted", "stale"]
    assert Pointer.objects.get(key="release:digits").generation == 1


def test_two_reviewers_at_once_both_count(lasting_world: World) -> None:
    world = lasting_world
    proposal = ready(world, adapter=make_adapter(world.task))

    def approve(name: str) -> Callable[[], object]:
        return lambda: review(
            proposal=proposal,
            verdict="approve",
            reason=REASON,
            subject_digest=proposal.subject_digest,
            by=world.cast.act(name),
        )

    assert together(approve("rita"), approve("ravi")) == []
    proposal.refresh_from_db()
    assert (proposal.status, Review.objects.count()) == ("approved", 2)


def test_one_person_in_two_windows_counts_once(lasting_world: World) -> None:
    world = lasting_world
    proposal = ready(world, BOLDER)
    by = world.cast.act("rita")
    refused = together(
        *[
            lambda: review(
                proposal=proposal,
                verdict="approve",
                reason=REASON,
                subject_digest=proposal.subject_digest,
                by=by,
            )
        ]
        * 2
    )
    assert len(refused) == 1
    assert Review.objects.count() == 1


def test_a_promotion_and_a_revert_at_once_leave_one_history(lasting_world: World) -> None:
    world = lasting_world
    promoted(world)
    newer = approved(
        world, BOLDER, old={"main.py": ("file", b"print(1)\n"), "settings.toml": ("file", b"votes = 3\n")}
    )
    by = world.cast.act("operator")
    together(
        lambda: promote(proposal=newer, reason=REASON, by=by),
        lambda: revert(key="release:digits", to_digest=world.seed.digest, reason=REASON, by=by),
    )
    moves = list(PointerMove.objects.filter(key="release:digits").order_by("generation"))
    assert [move.generation for move in moves] == list(range(len(moves)))
    assert all(after.previous == before.digest for before, after in pairwise(moves))
    assert Pointer.objects.get(key="release:digits").digest == moves[-1].digest


def test_a_code_that_comes_twice_at_the_same_moment_counts_once(lasting_world: World) -> None:
    person = lasting_world.cast.rita
    give_authenticator(person)
    code, by = code_of(person), person.actor("session")
    uses = [lambda: use_code(person=person, code=code, by=by)] * 3
    assert len(together(*uses)) == 2
