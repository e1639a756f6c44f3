"""Holds: what was taken back, and whatever was made from it, does not come back unnoticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from governance.actions import (
    hold,
    install_task,
    lift_hold,
    open_proposal,
    register_release,
    revert,
    revert_lineage,
)
from governance.actions.installing import ReleaseDraft
from governance.actors import LOOP, SETUP
from governance.assurance.judged_by import bytes_of
from governance.assurance.replay import replay
from governance.errors import BadInput, NotAllowed
from governance.lineage import ancestry, live_descendants, newest_without
from governance.models import AuditEntry, Hold, Release
from governance.pointers import live_release, release_key
from governance.policy import bundled_text
from governance.roles import OPERATOR
from governance.submitting import submit_policy
from tests.governance.cast import (
    BETTER,
    BOLDER,
    REASON,
    World,
    draft_of,
    make_adapter,
    make_harness,
    make_world,
    promoted,
    ready,
)
from tests.snapshot import remembered


@pytest.fixture
def world(db: None, signer_home: Path) -> World:
    """The usual instance with a second operator."""
    return remembered("two operators", signer_home, lambda: make_world({"otto": (OPERATOR,)}))


def child_of(world: World, parent: Release) -> Release:
    """A release made from another one."""
    harness = make_harness(world.task, BOLDER)
    draft = ReleaseDraft(world.task, harness, None, parent, parent.binding, "test")
    return register_release(draft=draft, by=LOOP)


def test_what_a_revert_took_back_is_not_proposed_again_nor_is_its_child(world: World) -> None:
    proposal = promoted(world)
    assert proposal.release is not None
    child = child_of(world, proposal.release)
    revert(key=proposal.key, to_digest=world.seed.digest, reason=REASON, by=world.cast.act("operator"))
    with pytest.raises(NotAllowed, match="It is held since"):
        open_proposal(draft=draft_of(world), by=LOOP)
    draft = draft_of(world, BOLDER)
    assert draft.release == child
    with pytest.raises(NotAllowed, match=f"It was made from {proposal.target[:12]}, which is held since"):
        open_proposal(draft=draft, by=LOOP)


def test_a_revert_of_the_revert_is_one_action_and_lifts_its_hold(world: World) -> None:
    proposal = promoted(world)
    by = world.cast.act("operator")
    revert(key=proposal.key, to_digest=world.seed.digest, reason=REASON, by=by)
    revert(key=proposal.key, to_digest=proposal.target, reason=REASON, by=by)
    assert live_release(world.task) == proposal.release
    assert list(Hold.objects.filter(lifted_at__isnull=True).values_list("digest", flat=True)) == [
        world.seed.digest
    ]


def test_each_time_something_comes_back_its_own_hold_is_lifted_and_no_other(world: World) -> None:
    better = promoted(world)
    bolder = promoted(world, BOLDER, old=BETTER)
    by = world.cast.act("operator")

    def held() -> set[str]:
        return set(Hold.objects.filter(lifted_at__isnull=True).values_list("digest", flat=True))

    revert(key=better.key, to_digest=better.target, reason=REASON, by=by)
    revert(key=better.key, to_digest=world.seed.digest, reason=REASON, by=by)
    assert held() == {bolder.target, better.target}
    for _ in range(2):
        revert(key=better.key, to_digest=better.target, reason=REASON, by=by)
        assert held() == {bolder.target, world.seed.digest}
        revert(key=better.key, to_digest=world.seed.digest, reason=REASON, by=by)
        assert held() == {bolder.target, better.target}


def test_what_people_hold_takes_two_people_to_lift(world: World) -> None:
    proposal = promoted(world)
    by = world.cast.act("operator")
    hold(digest=world.seed.digest, reason=REASON, by=by)
    with pytest.raises(NotAllowed, match="It is held since"):
        revert(key=proposal.key, to_digest=world.seed.digest, reason=REASON, by=by)
    assert lift_hold(digest=world.seed.digest, reason=REASON, by=by).lifted_at is None
    with pytest.raises(NotAllowed, match="takes a second person"):
        lift_hold(digest=world.seed.digest, reason=REASON, by=by)
    assert lift_hold(digest=world.seed.digest, reason=REASON, by=world.cast.act("otto")).lifted_at is not None
    revert(key=proposal.key, to_digest=world.seed.digest, reason=REASON, by=by)
    assert live_release(world.task) == world.seed


def test_a_hold_quarantines_open_proposals_of_what_it_holds_and_no_others(world: World) -> None:
    adapter = make_adapter(world.task)
    touched, other = ready(world, adapter=adapter), ready(world, BOLDER)
    hold(digest=adapter.digest, reason=REASON, by=world.cast.act("operator"))
    touched.refresh_from_db()
    other.refresh_from_db()
    assert (touched.status, touched.status_reason) == ("quarantined", f"Held: {REASON}")
    assert other.status == "ready"


def test_everything_made_from_a_bad_version_is_taken_back_at_once(world: World) -> None:
    proposal = promoted(world)
    assert proposal.release is not None
    bad = proposal.release.harness.digest
    assert bad in ancestry(proposal.release)
    assert [(task.slug, release) for task, release in live_descendants(bad)] == [("digits", proposal.release)]
    (back,) = revert_lineage(digest=bad, reason=REASON, by=world.cast.act("operator"))
    assert (live_release(world.task), back.review_due) == (world.seed, True)
    assert live_descendants(bad) == []
    assert replay((row.entry() for row in AuditEntry.objects.order_by("seq")), bytes_of).broken == []


def test_only_operators_take_a_lineage_back(world: World) -> None:
    proposal = promoted(world)
    for by in (world.cast.act("rita"), world.cast.act("olga"), LOOP):
        with pytest.raises(NotAllowed):
            revert_lineage(digest=proposal.target, reason=REASON, by=by)
    assert (live_release(world.task), Hold.objects.count()) == (proposal.release, 0)


def test_a_preview_asks_nobody_where_nothing_is_live_and_goes_back_to_what_is_sound(world: World) -> None:
    proposal = promoted(world)
    assert proposal.release is not None
    install_task(spec={"id": "letters", "title": "Letters"}, spec_digest="1" * 64, by=SETUP)
    bad = proposal.release.harness.digest
    assert [task.slug for task, _ in live_descendants(bad)] == ["digits"]
    assert newest_without(world.task, bad) == world.seed


def test_when_there_is_no_way_back_nothing_is_done(world: World) -> None:
    with pytest.raises(BadInput, match="Every release that was ever live on digits was made from"):
        revert_lineage(digest=world.seed.digest, reason=REASON, by=world.cast.act("operator"))
    assert not Hold.objects.exists()
    assert live_release(world.task) == world.seed


def test_unknown_digests_held_ones_and_free_ones_are_named(world: World) -> None:
    by = world.cast.act("operator")
    with pytest.raises(BadInput, match="neither a release nor a version"):
        hold(digest="0" * 64, reason=REASON, by=by)
    with pytest.raises(BadInput, match="is not held"):
        lift_hold(digest=world.seed.digest, reason=REASON, by=by)
    hold(digest=world.seed.digest, reason=REASON, by=by)
    with pytest.raises(BadInput, match="is held already"):
        hold(digest=world.seed.digest, reason=REASON, by=by)
    with pytest.raises(NotAllowed, match="needs the role operator"):
        hold(digest=world.seed.digest, reason=REASON, by=world.cast.act("rita"))
    assert live_release(world.task).digest == world.seed.digest
    assert release_key(world.task) == "release:digits"


def test_a_held_release_that_is_live_can_be_taken_back(world: World) -> None:
    proposal = promoted(world)
    by = world.cast.act("operator")
    hold(digest=proposal.target, reason=REASON, by=by)
    revert(key=proposal.key, to_digest=world.seed.digest, reason=REASON, by=by)
    assert live_release(world.task) == world.seed
    assert not Hold.objects.get(digest=proposal.target).automatic


def test_everything_made_from_a_held_version_can_be_taken_back_but_not_to_what_people_hold(
    world: World,
) -> None:
    proposal = promoted(world)
    assert proposal.release is not None
    by, bad = world.cast.act("operator"), proposal.release.harness.digest
    for digest in (bad, world.seed.digest):
        hold(digest=digest, reason=REASON, by=by)
    with pytest.raises(BadInput, match="or people hold it"):
        revert_lineage(digest=bad, reason=REASON, by=by)
    for name in ("operator", "otto"):
        lift_hold(digest=world.seed.digest, reason=REASON, by=world.cast.act(name))
    revert_lineage(digest=bad, reason=REASON, by=by)
    assert live_release(world.task) == world.seed


def test_who_may_not_lift_is_not_told_what_is_held(world: World) -> None:
    with pytest.raises(NotAllowed, match="needs the role operator"):
        lift_hold(digest=world.seed.digest, reason=REASON, by=world.cast.act("ravi"))


def test_a_held_policy_is_neither_proposed_nor_decided(world: World) -> None:
    text = bundled_text().replace('version = "4"', 'version = "5"')
    proposal = submit_policy(text=text, summary="Later.", by=world.cast.act("olga"))
    hold(digest=proposal.target, reason=REASON, by=world.cast.act("operator"))
    proposal.refresh_from_db()
    assert proposal.status == "quarantined"
    with pytest.raises(NotAllowed, match="It is held since"):
        submit_policy(text=text, summary="Again.", by=world.cast.act("olga"))
