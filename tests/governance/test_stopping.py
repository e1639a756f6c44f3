"""The stop switch: one person stops, two resume, and nothing governed moves in between."""

from __future__ import annotations

import pytest

from governance.actions import open_proposal, promote, resume, revert, stop
from governance.actors import LOOP
from governance.errors import BadInput, NotAllowed
from governance.models import AuditEntry, Halt
from governance.pointers import live_release
from tests.governance.cast import BOLDER, REASON, World, approved, draft_of, promoted, ready


def halt(world: World, scope: str = "", name: str = "rita") -> Halt:
    """One person stops."""
    return stop(scope=scope, reason=REASON, by=world.cast.act(name))


@pytest.mark.parametrize("scope", ["", "digits"])
def test_a_stop_holds_every_open_proposal_and_lets_nothing_new_in(world: World, scope: str) -> None:
    proposal = approved(world)
    halt(world, scope)
    proposal.refresh_from_db()
    assert (proposal.status, proposal.status_reason) == ("quarantined", f"Stopped: {REASON}")
    with pytest.raises(NotAllowed, match="quarantined"):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))
    with pytest.raises(NotAllowed, match=r"was stopped on .* two people can resume it"):
        open_proposal(draft=draft_of(world, BOLDER), by=LOOP)


def test_what_is_live_stays_what_it_is(world: World) -> None:
    proposal = promoted(world)
    halt(world)
    proposal.refresh_from_db()
    assert proposal.status == "promoted"


def test_a_stop_of_one_task_leaves_the_others_alone(world: World) -> None:
    proposal = ready(world)
    halt(world, "another-task")
    proposal.refresh_from_db()
    assert proposal.status == "ready"


def test_what_is_live_can_be_reverted_while_everything_is_stopped(world: World) -> None:
    proposal = promoted(world)
    halt(world)
    revert(key=proposal.key, to_digest=world.seed.digest, reason=REASON, by=world.cast.act("operator"))
    assert live_release(world.task) == world.seed


def test_it_takes_two_different_people_to_resume(world: World) -> None:
    halt(world)
    first = resume(scope="", reason=REASON, by=world.cast.act("operator"))
    assert first.resumed_at is None
    with pytest.raises(NotAllowed, match="takes a second person"):
        resume(scope="", reason=REASON, by=world.cast.act("operator"))
    with pytest.raises(NotAllowed, match="needs the role"):
        resume(scope="", reason=REASON, by=world.cast.act("rita"))
    assert resume(scope="", reason=REASON, by=world.cast.act("olga")).resumed_at is not None
    assert ready(world).status == "ready"


def test_who_resumes_a_task_does_not_resume_everything(world: World) -> None:
    for scope in ("", "digits"):
        halt(world, scope)
    for name in ("operator", "olga"):
        resume(scope="digits", reason=REASON, by=world.cast.act(name))
    assert list(Halt.objects.filter(resumed_at=None).values_list("scope", flat=True)) == [""]


def test_stopping_twice_and_resuming_what_runs_are_named(world: World) -> None:
    with pytest.raises(BadInput, match="Everything is not stopped"):
        resume(scope="", reason=REASON, by=world.cast.act("operator"))
    halt(world)
    with pytest.raises(BadInput, match="was stopped already"):
        halt(world, name="ravi")


def test_what_was_resumed_is_stopped_and_resumed_again(world: World) -> None:
    for _ in range(2):
        stop(scope="digits", reason=REASON, by=world.cast.act("rita"))
        for name in ("operator", "olga"):
            resume(scope="digits", reason=REASON, by=world.cast.act(name))
        assert not Halt.objects.filter(resumed_at=None).exists()
    with pytest.raises(BadInput, match="is not stopped"):
        resume(scope="digits", reason=REASON, by=world.cast.act("otto"))


def test_stop_and_resume_are_in_the_log_with_what_they_held(world: World) -> None:
    proposal = ready(world)
    halt(world)
    for name in ("operator", "olga"):
        resume(scope="", reason=REASON, by=world.cast.act(name))
    entries = [
        row.entry() for row in AuditEntry.objects.filter(action__in=["stop", "resume"]).order_by("seq")
    ]
    assert entries[0]["detail"]["quarantined"] == [proposal.ref]
    assert [entry["detail"]["over"] for entry in entries[1:]] == [False, True]


def test_an_outsider_and_the_loop_cannot_stop(world: World) -> None:
    for by in (LOOP, world.cast.act("outsider")):
        with pytest.raises(NotAllowed):
            stop(scope="", reason=REASON, by=by)
