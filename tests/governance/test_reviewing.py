"""Verdicts: who may give them, on what, and what they do."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group

from governance.actions import revert, review, withdraw
from governance.actors import LOOP, VERIFIER, Actor
from governance.errors import BadInput, NotAllowed, Stale
from governance.models import AuditEntry, Evidence, Review
from governance.roles import REVIEWER
from governance.rules import can_review, check_may_read_log
from tests.governance.cast import (
    BOLDER,
    REASON,
    World,
    age,
    approved,
    change_role,
    drafted,
    make_adapter,
    promoted,
    ready,
    say,
    verifying,
)

pytestmark = pytest.mark.one_database


def test_one_approval_is_enough_inside_the_envelope(world: World) -> None:
    proposal = ready(world)
    given = say(world, "rita", proposal)
    assert proposal.status == "approved"
    assert given.subject_digest == proposal.subject_digest
    assert given.consumed_at is None


def test_another_adapter_needs_two_people(world: World) -> None:
    proposal = ready(world, adapter=make_adapter(world.task))
    say(world, "rita", proposal)
    assert proposal.status == "in_review"
    say(world, "ravi", proposal)
    assert proposal.status == "approved"


@pytest.mark.parametrize(
    ("verdict", "status"), [("reject", "rejected"), ("request_changes", "changes_requested")]
)
def test_one_reviewer_can_stop_a_proposal_even_after_its_approval(
    world: World, verdict: str, status: str
) -> None:
    for proposal in (ready(world, BOLDER), approved(world)):
        say(world, "ravi", proposal, verdict)
        assert (proposal.status, proposal.status_reason) == (status, REASON)


def test_a_person_judges_a_subject_once(world: World) -> None:
    proposal = ready(world, BOLDER)
    say(world, "rita", proposal)
    with pytest.raises(NotAllowed, match="already given a verdict"):
        say(world, "rita", proposal)
    assert Review.objects.count() == 1


def test_verdicts_are_numbered_by_who_gave_them_on_what(world: World) -> None:
    proposal = ready(world, adapter=make_adapter(world.task))
    first, other = say(world, "rita", proposal), say(world, "ravi", proposal)
    Review.objects.update(expires_at=first.created_at)
    again = say(world, "rita", proposal)
    assert [each.round for each in (first, other, again)] == [1, 1, 2]
    Review.objects.update(subject_digest="0" * 64)
    assert say(world, "rita", proposal).round == 1


def test_one_approval_more_than_needed_is_taken(world: World) -> None:
    proposal = approved(world)
    say(world, "ravi", proposal)
    assert (proposal.status, proposal.reviews.count()) == ("approved", 2)


def test_whoever_started_the_campaign_does_not_count(world: World) -> None:
    proposal = ready(world)
    with pytest.raises(NotAllowed, match="starter started or proposed this change"):
        say(world, "starter", proposal)


def test_people_without_the_role_are_refused_and_that_is_recorded(world: World) -> None:
    proposal = ready(world)
    for name in ("outsider", "operator", "olga"):
        with pytest.raises(NotAllowed, match="needs the role reviewer"):
            say(world, name, proposal)
        entry = AuditEntry.objects.latest("seq")
        assert (entry.action, entry.outcome, entry.object_id) == ("proposal.review", "denied", proposal.ref)
        assert entry.entry()["actor"]["ref"] == getattr(world.cast, name).ref
    assert not Review.objects.exists()


def test_a_superuser_without_a_role_has_no_say(world: World) -> None:
    outsider = world.cast.outsider
    outsider.user.is_superuser = outsider.user.is_staff = True
    outsider.user.save()
    with pytest.raises(NotAllowed, match="needs the role reviewer"):
        say(world, "outsider", ready(world))


def test_membership_of_a_group_without_a_grant_does_not_count(world: World) -> None:
    world.cast.outsider.user.groups.add(Group.objects.create(name=REVIEWER))
    with pytest.raises(NotAllowed, match="needs the role reviewer"):
        say(world, "outsider", ready(world))


def test_an_account_that_is_switched_off_has_no_say(world: World) -> None:
    world.cast.rita.user.is_active = False
    world.cast.rita.user.save()
    with pytest.raises(NotAllowed, match="not active"):
        say(world, "rita", ready(world))


@pytest.mark.parametrize(
    "by", [LOOP, VERIFIER, Actor("agent", "feedback"), Actor("human", "p-nobody", "session")]
)
def test_only_known_people_review(world: World, by: Actor) -> None:
    proposal = ready(world)
    with pytest.raises(NotAllowed):
        review(
            proposal=proposal, verdict="approve", reason=REASON, subject_digest=proposal.subject_digest, by=by
        )


def test_a_token_alone_gives_no_approval(world: World) -> None:
    proposal = ready(world)
    by = world.cast.rita.actor("token")
    with pytest.raises(NotAllowed, match="a token alone is not enough"):
        review(
            proposal=proposal, verdict="approve", reason=REASON, subject_digest=proposal.subject_digest, by=by
        )


@pytest.mark.parametrize("reason", ["", "   ", "looks ok", " " * 20 + "ok"])
def test_a_verdict_needs_a_reason_that_says_something(world: World, reason: str) -> None:
    proposal = ready(world)
    by = world.cast.act("rita")
    with pytest.raises(BadInput, match="at least 10 characters"):
        review(
            proposal=proposal, verdict="approve", reason=reason, subject_digest=proposal.subject_digest, by=by
        )


def test_an_unknown_verdict_is_refused(world: World) -> None:
    with pytest.raises(BadInput, match="no verdict"):
        say(world, "rita", ready(world), "maybe")


def test_a_verdict_on_another_subject_than_the_present_one_is_refused(world: World) -> None:
    proposal = ready(world)
    by = world.cast.act("rita")
    with pytest.raises(Stale, match="What you read is not what this proposal is now"):
        review(proposal=proposal, verdict="approve", reason=REASON, subject_digest="0" * 64, by=by)


def test_nothing_can_be_judged_before_it_is_ready_or_after_it_ended(world: World) -> None:
    ended = withdraw(proposal=ready(world), reason=REASON, by=LOOP)
    for proposal in (drafted(world, BOLDER), verifying(world, BOLDER), ended):
        allowed, why = can_review(proposal, world.cast.act("rita"))
        assert not allowed
        assert why.endswith("a verdict needs one that is ready or in review.")


def test_an_expired_proposal_cannot_be_judged(world: World) -> None:
    proposal = ready(world)
    age(proposal, hours=336)
    with pytest.raises(NotAllowed, match="expired on"):
        say(world, "rita", proposal)


def test_evidence_added_after_the_subject_was_fixed_makes_the_proposal_stale(world: World) -> None:
    proposal = ready(world)
    Evidence.objects.create(
        proposal=proposal, name="late", media_type="text/plain", sha256="0" * 64, size=1, body=b"x"
    )
    with pytest.raises(Stale, match="The evidence moved since the proposal became ready"):
        say(world, "rita", proposal)
    proposal.refresh_from_db()
    assert (proposal.status, Review.objects.count()) == ("stale", 0)
    denied, stale = AuditEntry.objects.order_by("-seq")[1], AuditEntry.objects.latest("seq")
    assert (denied.outcome, stale.action) == ("denied", "proposal.stale")
    assert stale.entry()["cause"] == denied.entry()["id"]


def test_a_live_release_that_moved_makes_open_proposals_stale(world: World) -> None:
    other = ready(world, BOLDER)
    promoted(world)
    other.refresh_from_db()
    assert (other.status, other.status_reason) == ("stale", "The live release moved: Three votes.")
    with pytest.raises(NotAllowed, match="This proposal is stale"):
        say(world, "rita", other)


def test_an_owner_does_not_decide_about_releases_nor_a_reviewer_about_owners_lanes(world: World) -> None:
    proposal = ready(world)
    assert can_review(proposal, world.cast.act("olga")) == (
        False,
        f"This needs the role {REVIEWER}; olga does not hold it.",
    )


def test_a_role_that_was_taken_back_no_longer_reviews(world: World) -> None:
    proposal = ready(world)
    change_role(world, "rita", REVIEWER, "revoke")
    assert not can_review(proposal, world.cast.act("rita"))[0]


def test_a_revert_takes_no_verdicts(world: World) -> None:
    promoted(world)
    back = revert(
        key="release:digits", to_digest=world.seed.digest, reason=REASON, by=world.cast.act("operator")
    )
    assert not can_review(back, world.cast.act("rita"))[0]


def test_the_entry_of_a_review_holds_what_a_replay_needs(world: World) -> None:
    given = say(world, "rita", ready(world))
    entry = AuditEntry.objects.filter(action="proposal.review").latest("seq").entry()
    assert entry["actor"] == {"kind": "human", "ref": world.cast.rita.ref, "auth": "session"}
    assert entry["subject_digest"] == given.subject_digest
    assert (entry["detail"]["verdict"], entry["detail"]["nonce"]) == ("approve", given.nonce)
    assert "rita" not in AuditEntry.objects.latest("seq").body


def test_the_log_is_read_by_auditors_owners_and_operators(world: World) -> None:
    for name in ("olga", "operator"):
        assert check_may_read_log(world.cast.act(name)).pk == getattr(world.cast, name).pk
    with pytest.raises(NotAllowed, match="auditor, operator or evaluator owner"):
        check_may_read_log(world.cast.act("rita"))
