"""Going back: one act, to a former live release, reviewed afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.utils import timezone

from governance.actions import (
    acknowledge,
    expire_due,
    install_pointer,
    install_task,
    promote_due,
    refresh_stale,
    revert,
    revert_due,
)
from governance.actors import CLOCK, LOOP, SETUP
from governance.assurance.judged_by import bytes_of
from governance.assurance.replay import replay
from governance.errors import AuditError, BadInput, NotAllowed
from governance.models import AuditEntry, Evidence, Pointer, PointerMove, Proposal
from governance.pointers import live_release
from tests.governance.cast import BETTER, BOLDER, REASON, World, age, approved, make_release, promoted, ready

KEY = "release:digits"


def _back(world: World) -> Proposal:
    return revert(key=KEY, to_digest=world.seed.digest, reason=REASON, by=world.cast.act("operator"))


def test_an_operator_makes_a_former_release_live_at_once(world: World) -> None:
    was_live = promoted(world)
    proposal = _back(world)
    was_live.refresh_from_db()
    assert live_release(world.task) == world.seed
    assert (proposal.kind, proposal.status, proposal.review_due) == ("revert", "promoted", True)
    assert was_live.status == "reverted"
    assert [move.kind for move in PointerMove.objects.filter(key=KEY).order_by("generation")] == [
        "install",
        "promote",
        "revert",
    ]


def test_a_revert_can_be_reverted(world: World) -> None:
    first = promoted(world)
    back = _back(world)
    revert(key=KEY, to_digest=first.target, reason=REASON, by=world.cast.act("operator"))
    back.refresh_from_db()
    assert back.status == "reverted"
    assert live_release(world.task).digest == first.target


def test_the_log_of_reverts_replays_without_a_complaint(world: World) -> None:
    first = promoted(world)
    _back(world)
    revert(key=KEY, to_digest=first.target, reason=REASON, by=world.cast.act("operator"))
    assert replay((entry.entry() for entry in AuditEntry.objects.order_by("seq")), bytes_of).broken == []


def test_only_operators_revert(world: World) -> None:
    promoted(world)
    for by in (world.cast.act("rita"), world.cast.act("olga"), LOOP):
        with pytest.raises(NotAllowed):
            revert(key=KEY, to_digest=world.seed.digest, reason=REASON, by=by)
    assert live_release(world.task) != world.seed


def test_what_was_never_live_cannot_be_reverted_to(world: World) -> None:
    promoted(world)
    never = make_release(world.task, BOLDER)
    with pytest.raises(BadInput, match="was never live"):
        revert(key=KEY, to_digest=never.digest, reason=REASON, by=world.cast.act("operator"))


def test_what_was_live_on_another_task_cannot_be_reverted_to(world: World) -> None:
    letters = install_task(spec={"id": "letters", "title": "Letters"}, spec_digest="1" * 64, by=SETUP)
    theirs = make_release(letters, BOLDER)
    install_pointer(key="release:letters", digest=theirs.digest, reason="First.", by=SETUP)
    with pytest.raises(BadInput, match="was never live under release:digits"):
        revert(key=KEY, to_digest=theirs.digest, reason=REASON, by=world.cast.act("operator"))


def test_what_is_live_cannot_be_reverted_to(world: World) -> None:
    with pytest.raises(BadInput, match="is live already"):
        _back(world)


@pytest.mark.parametrize("key", ["policy", "evaluator:digits"])
def test_evaluators_and_policies_do_not_go_back_by_one_person(world: World, key: str) -> None:
    digest = Pointer.objects.get(key=key).digest
    with pytest.raises(NotAllowed, match="goes back by a proposal"):
        revert(key=key, to_digest=digest, reason=REASON, by=world.cast.act("operator"))


@pytest.mark.parametrize("key", ["nonsense", "release:", "release:unknown"])
def test_unknown_keys_are_named_in_the_answer(world: World, key: str) -> None:
    with pytest.raises(BadInput):
        revert(key=key, to_digest="0" * 64, reason=REASON, by=world.cast.act("operator"))


def test_a_revert_whose_entry_cannot_be_written_does_not_happen(world: World) -> None:
    was_live = promoted(world)
    with pytest.raises(AuditError):
        revert(key=KEY, to_digest=world.seed.digest, reason="x " * 40_000, by=world.cast.act("operator"))
    assert live_release(world.task).digest == was_live.target
    assert not Proposal.objects.filter(kind="revert").exists()


def test_without_a_signer_nothing_goes_back_either(world: World, signer_home: Path) -> None:
    was_live = promoted(world)
    for file in (signer_home / "keys").iterdir():
        file.unlink()
    with pytest.raises(NotAllowed, match="Nothing goes live while the log cannot be signed"):
        _back(world)
    assert live_release(world.task).digest == was_live.target


def test_a_revert_makes_open_proposals_on_the_old_base_stale(world: World) -> None:
    promoted(world)
    other = ready(world, BOLDER, old=BETTER)
    _back(world)
    other.refresh_from_db()
    assert other.status == "stale"


def test_another_reviewer_gives_the_review_afterwards(world: World) -> None:
    promoted(world)
    proposal = _back(world)
    with pytest.raises(NotAllowed, match="needs the role reviewer"):
        acknowledge(proposal=proposal, reason=REASON, by=world.cast.act("operator"))
    assert acknowledge(proposal=proposal, reason=REASON, by=world.cast.act("rita")).review_due is False
    with pytest.raises(NotAllowed, match="does not wait"):
        acknowledge(proposal=proposal, reason=REASON, by=world.cast.act("ravi"))


def test_whoever_reverted_does_not_review_it_afterwards(world: World) -> None:
    promoted(world)
    proposal = revert(key=KEY, to_digest=world.seed.digest, reason=REASON, by=world.cast.act("starter"))
    with pytest.raises(NotAllowed, match="somebody else must decide"):
        acknowledge(proposal=proposal, reason=REASON, by=world.cast.act("starter"))


def test_the_clock_expires_what_is_past_its_date(world: World) -> None:
    old, young = ready(world), ready(world, BOLDER)
    age(old, hours=336)
    assert [proposal.pk for proposal in expire_due(now=timezone.now())] == [old.pk]
    old.refresh_from_db()
    young.refresh_from_db()
    assert (old.status, young.status) == ("expired", "ready")


def test_the_clock_expires_an_approved_proposal_whose_approvals_ran_out(world: World) -> None:
    proposal = approved(world)
    age(proposal, hours=73)
    expire_due(now=timezone.now())
    proposal.refresh_from_db()
    assert (proposal.status, proposal.status_reason) == ("expired", "Only 0 of its 1 approvals still count.")


def test_the_clock_finds_what_went_stale_and_says_why(world: World) -> None:
    moved, still = ready(world), ready(world, BOLDER)
    Evidence.objects.create(
        proposal=moved, name="late", media_type="text/plain", sha256="0" * 64, size=1, body=b"x"
    )
    assert [proposal.pk for proposal in refresh_stale(by=CLOCK)] == [moved.pk]
    still.refresh_from_db()
    assert still.status == "ready"
    entry = AuditEntry.objects.latest("seq")
    assert (entry.action, entry.actor) == ("proposal.stale", "clock")


def test_people_do_not_turn_the_clock(world: World) -> None:
    for by in (world.cast.act("operator"), LOOP):
        with pytest.raises(NotAllowed, match="Upkeep is an act of the clock alone"):
            expire_due(now=timezone.now(), by=by)
        with pytest.raises(NotAllowed, match="Upkeep is an act of the clock alone"):
            revert_due(now=timezone.now(), by=by)
        with pytest.raises(NotAllowed, match="Upkeep is an act of the clock alone"):
            promote_due(by=by)
        with pytest.raises(NotAllowed, match="Upkeep is an act of the clock alone"):
            refresh_stale(by=by)
