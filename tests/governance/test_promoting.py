"""Going live: every guard again, one swap, and what it does to others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.db import DatabaseError
from django.template.loader import render_to_string

from governance.actions import (
    EvidenceItem,
    ProposalDraft,
    begin_verification,
    finish_verification,
    open_proposal,
    promote,
    promote_due,
    register_version,
    review,
)
from governance.actors import CLOCK, LOOP, VERIFIER
from governance.assurance.judged_by import bytes_of
from governance.assurance.replay import replay
from governance.digests import json_digest
from governance.errors import AuditError, BadInput, NotAllowed, Stale
from governance.models import AuditEntry, Evidence, Pointer, PointerMove, Proposal, Review
from governance.pointers import live_release
from governance.policy import bundled_text
from governance.roles import OPERATOR, REVIEWER
from governance.rules import can_promote
from governance.submitting import EvaluatorChange, begin_evaluator, finish_evaluator, submit_policy
from tests.governance.cast import (
    BETTER,
    BOLDER,
    EVALUATOR,
    FAIRER,
    REASON,
    RESCORED,
    SEED,
    World,
    age,
    approved,
    change_policy,
    change_role,
    drafted,
    evaluator_manifest,
    make_adapter,
    promoted,
    put_in_force,
    ready,
    say,
    submit_evaluator,
)

NEW_POLICY = bundled_text().replace('version = "4"', 'version = "5"')


def test_promoting_moves_the_live_release_and_keeps_its_history(world: World) -> None:
    proposal = promoted(world)
    assert live_release(world.task).digest == proposal.target
    assert Pointer.objects.get(key="release:digits").generation == 1
    moves = PointerMove.objects.filter(key="release:digits").order_by("generation")
    assert [(move.kind, move.digest) for move in moves] == [
        ("install", world.seed.digest),
        ("promote", proposal.target),
    ]


def test_an_approval_is_used_once(world: World) -> None:
    proposal = promoted(world)
    assert Review.objects.get(proposal=proposal).consumed_at is not None
    with pytest.raises(NotAllowed, match="only an approved one can be promoted"):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))


def test_used_approvals_do_not_count_again(world: World) -> None:
    proposal = promoted(world)
    Proposal.objects.filter(pk=proposal.pk).update(status="approved")
    with pytest.raises(NotAllowed, match="0 of 1 approvals"):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))


def test_a_later_promotion_supersedes_the_earlier(world: World) -> None:
    first = promoted(world)
    second = promoted(world, {**BETTER, "settings.toml": ("file", b"votes = 5\n")}, old=BETTER)
    first.refresh_from_db()
    assert (first.status, second.status) == ("superseded", "promoted")


def test_only_approved_proposals_are_promoted(world: World) -> None:
    for proposal in (drafted(world), ready(world)):
        with pytest.raises(NotAllowed, match="only an approved one can be promoted"):
            promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))


@pytest.mark.parametrize("name", ["rita", "outsider", "olga"])
def test_only_operators_promote(world: World, name: str) -> None:
    with pytest.raises(NotAllowed, match="needs the role operator"):
        promote(proposal=approved(world), reason=REASON, by=world.cast.act(name))


def test_an_operator_with_a_part_in_the_change_may_promote_what_others_approved(world: World) -> None:
    proposal = approved(world)
    assert world.cast.act("starter").ref in proposal.excluded
    promote(proposal=proposal, reason=REASON, by=world.cast.act("starter"))
    proposal.refresh_from_db()
    assert proposal.status == "promoted"


def test_the_loop_cannot_promote(world: World) -> None:
    with pytest.raises(NotAllowed, match="Only a person"):
        promote(proposal=approved(world), reason=REASON, by=LOOP)


def test_promoting_needs_a_reason(world: World) -> None:
    with pytest.raises(BadInput, match="at least 10"):
        promote(proposal=approved(world), reason="go", by=world.cast.act("operator"))


def test_an_approver_who_lost_the_role_no_longer_counts(world: World) -> None:
    proposal = approved(world)
    change_role(world, "rita", REVIEWER, "revoke")
    allowed, why_not = can_promote(proposal, world.cast.act("operator"))
    assert not allowed
    assert why_not.startswith("0 of 1 approvals by reviewers count today")


def test_an_approver_whose_account_was_switched_off_no_longer_counts(world: World) -> None:
    proposal = approved(world)
    world.cast.rita.user.is_active = False
    world.cast.rita.user.save()
    with pytest.raises(NotAllowed, match="0 of 1 approvals"):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))


def test_an_operator_who_lost_the_role_no_longer_promotes(world: World) -> None:
    proposal = approved(world)
    change_role(world, "operator", OPERATOR, "revoke")
    with pytest.raises(NotAllowed, match="needs the role operator"):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))


def test_an_approval_that_expired_no_longer_counts(world: World) -> None:
    proposal = approved(world)
    age(proposal, hours=72)
    with pytest.raises(NotAllowed, match="0 of 1 approvals"):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))


def test_one_of_two_approvals_is_not_enough_at_promotion_either(world: World) -> None:
    proposal = approved(world, adapter=make_adapter(world.task))
    change_role(world, "ravi", REVIEWER, "revoke")
    with pytest.raises(NotAllowed, match="1 of 2 approvals"):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))


def test_a_proposal_past_its_date_is_not_promoted(world: World) -> None:
    proposal = approved(world)
    age(proposal, hours=336)
    with pytest.raises(NotAllowed, match="expired on"):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))


def test_what_was_approved_on_another_base_is_not_promoted(world: World) -> None:
    proposal = approved(world)
    pointer = Pointer.objects.get(key="release:digits")
    Pointer.objects.filter(pk=pointer.pk).update(digest="f" * 64, generation=7)
    with pytest.raises(Stale, match="The live version that it replaces moved"):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))
    proposal.refresh_from_db()
    assert proposal.status == "stale"
    assert Pointer.objects.get(pk=pointer.pk).digest == "f" * 64


def test_an_evaluator_that_moved_makes_the_approval_stale(world: World) -> None:
    proposal = approved(world)
    world.evaluator.manifest["hidden_commitment"] = "other"
    world.evaluator.save()
    with pytest.raises(Stale, match="The hidden set moved"):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))


def test_a_release_whose_binding_was_edited_makes_the_approval_stale(world: World) -> None:
    proposal = approved(world)
    assert proposal.release is not None
    proposal.release.binding["runtime"] = "x" * 64
    proposal.release.save()
    with pytest.raises(Stale, match="What the proposal would make live and the runtime moved"):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))


def test_without_a_signer_nothing_goes_live(world: World, signer_home: Path) -> None:
    proposal = approved(world)
    for file in (signer_home / "keys").iterdir():
        file.unlink()
    with pytest.raises(NotAllowed, match="Nothing goes live while the log cannot be signed"):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))
    assert live_release(world.task) == world.seed


def test_a_promotion_whose_entry_cannot_be_written_does_not_happen(world: World) -> None:
    proposal = approved(world)
    with pytest.raises(AuditError, match="the log takes 65,535"):
        promote(proposal=proposal, reason="long " * 20_000, by=world.cast.act("operator"))
    proposal.refresh_from_db()
    assert proposal.status == "approved"
    assert live_release(world.task) == world.seed
    assert not Review.objects.filter(consumed_at__isnull=False).exists()


def test_a_review_whose_entry_cannot_be_written_does_not_happen(world: World) -> None:
    proposal = ready(world)
    with pytest.raises(AuditError):
        review(
            proposal=proposal,
            verdict="approve",
            reason="long " * 20_000,
            subject_digest=proposal.subject_digest,
            by=world.cast.act("rita"),
        )
    proposal.refresh_from_db()
    assert (proposal.status, Review.objects.count()) == ("ready", 0)


def test_an_evaluator_takes_two_owners_and_a_day(world: World) -> None:
    open_release = ready(world, BOLDER)
    proposal = _submitted_evaluator(world)
    say(world, "olga", proposal)
    assert proposal.status == "in_review"
    say(world, "otto", proposal)
    assert proposal.status == "approved"
    with pytest.raises(NotAllowed, match="cools off for 24 hours"):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))
    age(proposal, hours=23.9)
    assert not can_promote(proposal, world.cast.act("operator"))[0]
    age(proposal, hours=0.2)
    promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))
    open_release.refresh_from_db()
    assert (open_release.status, open_release.status_reason) == (
        "stale",
        "The evaluator in force moved: New evaluator for digits.",
    )


def test_reviewers_of_releases_do_not_decide_about_evaluators(world: World) -> None:
    with pytest.raises(NotAllowed, match="needs the role evaluator owner"):
        say(world, "rita", _submitted_evaluator(world))


def test_whoever_proposes_an_evaluator_does_not_approve_it(world: World) -> None:
    proposal = _submitted_evaluator(world, "olga")
    with pytest.raises(NotAllowed, match="olga started or proposed this change"):
        say(world, "olga", proposal)


def test_a_policy_is_judged_by_the_old_rules_and_makes_everything_open_stale(world: World) -> None:
    open_release = ready(world)
    proposal = submit_policy(text=NEW_POLICY, summary="", by=world.cast.act("operator"))
    assert (proposal.status, proposal.lane) == ("ready", "policy")
    put_in_force(world, proposal)
    open_release.refresh_from_db()
    assert open_release.status_reason == "The policy in force moved: Policy strict 5."


def test_what_goes_live_supersedes_nothing_that_is_in_force_elsewhere(world: World) -> None:
    policy = change_policy(world, NEW_POLICY)
    promoted(world)
    policy.refresh_from_db()
    assert policy.status == "promoted"


def test_the_log_of_all_of_this_replays_without_a_complaint(world: World) -> None:
    promoted(world)
    promoted(world, {**BETTER, "main.py": ("file", b"print(5)\n")}, old=BETTER)
    evaluator = _submitted_evaluator(world)
    policy = submit_policy(text=NEW_POLICY, summary="", by=world.cast.act("otto"))
    for name in ("olga", "otto"):
        say(world, name, evaluator)
    age(evaluator, hours=25)
    promote(proposal=evaluator, reason=REASON, by=world.cast.act("operator"))
    policy.refresh_from_db()
    assert policy.status == "ready"
    state = replay((entry.entry() for entry in AuditEntry.objects.order_by("seq")), bytes_of)
    assert (
        len(state.broken) == 1 and "cools off" in state.broken[0]
    )  # rows went back in time, the log did not
    assert state.moves == PointerMove.objects.count()


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({"lane": "harness"}, "proposal's lane are not"),
        ({"excluded": []}, "proposal's excluded are not"),
    ],
)
def test_a_proposal_edited_in_the_database_is_not_promoted(
    world: World, edit: dict[str, object], words: str
) -> None:
    proposal = approved(world, adapter=make_adapter(world.task))
    Proposal.objects.filter(pk=proposal.pk).update(**edit)
    with pytest.raises(NotAllowed, match=words):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))


def test_evidence_cannot_be_changed_after_the_fact_even_in_the_database(world: World) -> None:
    item = Evidence.objects.filter(proposal=ready(world)).first()
    assert item is not None
    item.body = b"better"
    with pytest.raises(DatabaseError):
        item.save()


def _submitted_evaluator(world: World, by: str = "starter") -> Proposal:
    return submit_evaluator(world.task, FAIRER, world.cast.act(by))


def test_an_evaluator_is_code_of_modest_size_with_its_entry_point(world: World) -> None:
    for code, words in (
        ({}, "no evaluate"),
        ({"evaluate.py": ("file", b"#" * 1_000_001)}, "larger than 1,000,000"),
    ):
        with pytest.raises(BadInput, match=words):
            submit_evaluator(world.task, code, world.cast.act("olga"))


def test_an_evaluator_that_gives_the_live_release_no_score_fails_with_the_reason(world: World) -> None:
    silent = {**RESCORED, "new": {"evaluator": "c" * 64, "score": None, "reason": "It raised KeyError."}}
    for number, (public, hidden, where) in enumerate(((silent, None, ""), (RESCORED, silent, " hidden"))):
        code = {**FAIRER, "number.txt": ("file", str(number).encode())}
        by, manifest = world.cast.act("olga"), evaluator_manifest(code)
        proposal = begin_evaluator(task=world.task, manifest=manifest, code=code, summary="", by=by)
        proposal = finish_evaluator(
            proposal=proposal, change=EvaluatorChange(EVALUATOR, code, public, hidden)
        )
        assert (proposal.status, proposal.status_reason) == (
            "failed",
            f"The new evaluator gives the live release no{where} score: It raised KeyError.",
        )


def test_without_a_live_release_an_evaluator_says_that_nothing_was_scored(world: World) -> None:
    nothing = {"evaluator": "c" * 64, "score": None, "reason": "Nothing is live."}
    bare = {**RESCORED, "release": None, "items_changed": None, "old": nothing, "new": nothing}
    by, manifest = world.cast.act("olga"), evaluator_manifest(FAIRER)
    proposal = begin_evaluator(task=world.task, manifest=manifest, code=FAIRER, summary="", by=by)
    proposal = finish_evaluator(proposal=proposal, change=EvaluatorChange(EVALUATOR, FAIRER, bare, bare))
    assert proposal.status == "ready"
    said = json.loads(proposal.evidence.get(name="not_tested").data())
    assert said == ["Nothing is live, so no release was scored under the new evaluator."]
    shown = render_to_string("desk/cards/rescored.html", {"data": bare})
    assert "Nothing is live for this task" in shown and ">0<" not in shown


def test_an_evaluator_without_the_live_release_scored_by_both_is_never_decided(world: World) -> None:
    proposal = _submitted_evaluator(world)
    assert (proposal.status, proposal.evidence.filter(name="rescored").count()) == ("ready", 1)
    manifest = evaluator_manifest(BOLDER)
    version = register_version(
        kind="evaluator", digest=json_digest(manifest), task=world.task, manifest=manifest, by=LOOP
    )
    draft = ProposalDraft("evaluator", world.task, None, version, "Fairer", "")
    bare = begin_verification(proposal=open_proposal(draft=draft, by=LOOP), by=VERIFIER)
    diff = [EvidenceItem("diff", "application/json", b'{"files": []}')]
    bare = finish_verification(proposal=bare, passed=True, reason="", evidence=diff, by=VERIFIER)
    assert (bare.status, "without evidence: rescored, rescored_hidden" in bare.status_reason) == (
        "failed",
        True,
    )


def test_a_policy_that_owners_approved_lets_small_changes_go_live_without_a_person(world: World) -> None:
    change_policy(world, NEW_POLICY.replace("approvals = 1", "approvals = 0", 1))
    other = {**SEED, "settings.toml": ("file", b"votes = 5\n")}
    inside, outside, later = ready(world), ready(world, BOLDER), ready(world, other)
    assert (inside.status, outside.status, later.status) == ("approved", "ready", "approved")
    with pytest.raises(NotAllowed, match="needs the role"):
        promote(proposal=inside, reason=REASON, by=world.cast.act("ravi"))
    assert promote_due() == [inside]
    inside.refresh_from_db()
    later.refresh_from_db()
    assert (inside.status, later.status) == ("promoted", "stale")
    assert promote_due() == []


def test_under_the_strict_policy_the_clock_promotes_nothing(world: World) -> None:
    proposal = approved(world)
    assert promote_due() == []
    with pytest.raises(NotAllowed, match="Only a person"):
        promote(proposal=proposal, reason=REASON, by=CLOCK)
