"""Opening and verifying proposals."""

from __future__ import annotations

import dataclasses
import json

import pytest

from governance import diffs
from governance.actions import (
    EvidenceItem,
    ProposalDraft,
    ReleaseDraft,
    begin_verification,
    finish_verification,
    install_pointer,
    install_task,
    open_proposal,
    promote,
    register_release,
    register_version,
    withdraw,
)
from governance.actions.base import act
from governance.actors import LOOP, SETUP, VERIFIER, Actor
from governance.digests import json_digest
from governance.errors import BadInput, NotAllowed, Stale, SubjectMoved
from governance.models import AuditEntry, Evidence, Pointer, Proposal, Version
from governance.policy import bundled_text
from tests.governance.cast import (
    BETTER,
    BOLDER,
    FAIRER,
    REASON,
    SEED,
    World,
    approved,
    change_policy,
    draft_of,
    drafted,
    evaluator_manifest,
    evidence,
    make_adapter,
    make_harness,
    make_release,
    promoted,
    ready,
    verifying,
)

pytestmark = pytest.mark.one_database


def test_a_proposal_expects_to_replace_what_is_live_and_excludes_its_proposer(world: World) -> None:
    proposal = drafted(world)
    assert (proposal.key, proposal.base) == ("release:digits", world.seed.digest)
    assert proposal.excluded == sorted(["loop", world.cast.starter.ref])
    assert proposal.status == "draft"


def test_proposing_the_same_again_while_it_is_open_returns_the_first(world: World) -> None:
    assert drafted(world).pk == drafted(world).pk


def test_what_is_live_already_cannot_be_proposed(world: World) -> None:
    with pytest.raises(BadInput, match="in force"):
        drafted(world, SEED)


def test_the_parts_of_a_draft_must_fit_its_kind(world: World) -> None:
    wrong = dataclasses.replace(draft_of(world), kind="policy")
    with pytest.raises(BadInput, match="none of them"):
        open_proposal(draft=wrong, by=LOOP)


@pytest.mark.parametrize("case", ["promote", "evaluator", "evaluator of the task", "policy", "roles"])
def test_what_is_proposed_must_be_of_the_kind_and_of_the_task_that_are_named(world: World, case: str) -> None:
    other = install_task(spec={"id": "other"}, spec_digest="1" * 64, by=SETUP)
    policy = Version.objects.get(kind="policy")
    wrong = {
        "promote": ProposalDraft("promote", other, make_release(world.task, BETTER), None, "Three votes", ""),
        "evaluator": ProposalDraft("evaluator", other, None, world.evaluator, "Theirs", ""),
        "evaluator of the task": ProposalDraft(
            "evaluator", world.task, None, make_harness(world.task, BETTER), "A harness", ""
        ),
        "policy": ProposalDraft("policy", None, None, Version.objects.get(kind="roster"), "A roster", ""),
        "roles": ProposalDraft("roles", None, None, policy, "A policy", ""),
    }
    by = world.cast.act("olga") if case == "roles" else LOOP
    with pytest.raises(BadInput, match=f"kind '{case.split()[0]}' with these parts is none of them"):
        open_proposal(draft=wrong[case], by=by)
    assert not Proposal.objects.exists()


def test_a_task_without_a_live_release_gets_its_first_one_by_installing(world: World) -> None:
    other = install_task(spec={"id": "other"}, spec_digest="1" * 64, by=SETUP)
    manifest = evaluator_manifest(FAIRER)
    evaluator = register_version(
        kind="evaluator", digest=json_digest(manifest), task=other, manifest=manifest, by=SETUP
    )
    install_pointer(key="evaluator:other", digest=evaluator.digest, reason="First.", by=SETUP)
    draft = ProposalDraft("promote", other, make_release(other, BETTER), None, "The first", "")
    with pytest.raises(BadInput, match="Nothing was ever installed under release:other"):
        open_proposal(draft=draft, by=LOOP)


def test_a_proposal_needs_a_title(world: World) -> None:
    with pytest.raises(BadInput, match="title has 1 to 200 characters"):
        open_proposal(draft=dataclasses.replace(draft_of(world), title="  "), by=LOOP)


def test_a_viewer_cannot_propose_and_the_refusal_is_recorded(world: World) -> None:
    draft = draft_of(world)
    with pytest.raises(NotAllowed, match="needs the role"):
        open_proposal(draft=draft, by=world.cast.act("outsider"))
    entry = AuditEntry.objects.latest("seq")
    assert (entry.action, entry.outcome, entry.actor) == ("proposal.open", "denied", world.cast.outsider.ref)


def test_a_verified_proposal_has_a_subject_an_expiry_and_its_evidence(world: World) -> None:
    proposal = ready(world)
    assert proposal.status == "ready"
    assert len(proposal.subject_digest) == 64
    assert proposal.subject["base"] == world.seed.digest
    assert proposal.subject["evaluator"] == world.evaluator.digest
    assert proposal.expires_at is not None
    assert set(Evidence.objects.values_list("name", flat=True)) == {"comparison", "diff"}


def test_only_the_verifier_hands_in_results(world: World) -> None:
    proposal = verifying(world)
    for by in (LOOP, Actor("agent", "verifier"), world.cast.act("operator")):
        with pytest.raises(NotAllowed, match="Only the verifier"):
            finish_verification(proposal=proposal, passed=True, reason="", evidence=[], by=by)


def test_a_result_for_a_proposal_that_is_not_being_verified_is_refused(world: World) -> None:
    proposal = drafted(world)
    with pytest.raises(Stale, match="is draft, so its verification cannot end"):
        finish_verification(
            proposal=proposal, passed=True, reason="", evidence=evidence(SEED, BETTER), by=VERIFIER
        )


def test_a_restarted_verifier_may_begin_again(world: World) -> None:
    proposal = verifying(world)
    assert begin_verification(proposal=proposal, by=VERIFIER).status == "verifying"


def test_people_do_not_start_verifications(world: World) -> None:
    with pytest.raises(NotAllowed, match="not by hand"):
        begin_verification(proposal=drafted(world), by=world.cast.act("operator"))


def test_a_passed_verification_without_evidence_has_failed(world: World) -> None:
    proposal = finish_verification(
        proposal=verifying(world), passed=True, reason="fine", evidence=[], by=VERIFIER
    )
    assert proposal.status == "failed"
    assert "without evidence: comparison" in proposal.status_reason


def test_where_the_policy_asks_for_no_evidence_some_must_be_there_all_the_same(world: World) -> None:
    change_policy(world, bundled_text().replace('evidence = ["comparison"]', "evidence = []"))
    proposal = finish_verification(
        proposal=verifying(world), passed=True, reason="fine", evidence=[], by=VERIFIER
    )
    assert (proposal.status, proposal.status_reason) == (
        "failed", "It passed, but without evidence: none was handed in.",
    )  # fmt: skip


def test_evidence_that_the_lane_asks_for_cannot_be_left_out(world: World) -> None:
    only_diff = [item for item in evidence(SEED, BETTER) if item.name == "diff"]
    proposal = finish_verification(
        proposal=verifying(world), passed=True, reason="fine", evidence=only_diff, by=VERIFIER
    )
    assert (proposal.status, proposal.status_reason) == (
        "failed",
        "It passed, but without evidence: comparison.",
    )


def test_a_failed_verification_keeps_its_reason_and_evidence(world: World) -> None:
    proposal = finish_verification(
        proposal=verifying(world),
        passed=False,
        reason="No gain.",
        evidence=evidence(SEED, BETTER),
        by=VERIFIER,
    )
    assert (proposal.status, proposal.status_reason) == ("failed", "No gain.")
    assert proposal.evidence.count() == 2


def test_a_diff_that_hides_a_changed_file_is_refused(world: World) -> None:
    both = {**BETTER, "main.py": ("file", b"print('cheat')\n")}
    proposal = verifying(world, both)
    with pytest.raises(BadInput, match="not what changed"):
        finish_verification(
            proposal=proposal, passed=True, reason="", evidence=evidence(SEED, BETTER), by=VERIFIER
        )
    proposal.refresh_from_db()
    assert proposal.status == "verifying"
    assert proposal.evidence.count() == 0


def test_a_diff_with_other_bytes_than_the_harness_is_refused(world: World) -> None:
    shown = {**SEED, "settings.toml": ("file", b"votes = 2\n")}
    with pytest.raises(BadInput, match="not what changed"):
        finish_verification(
            proposal=verifying(world), passed=True, reason="", evidence=evidence(SEED, shown), by=VERIFIER
        )


def test_evidence_of_one_name_twice_is_refused(world: World) -> None:
    twice = evidence(SEED, BETTER) * 2
    with pytest.raises(BadInput, match="was handed in twice"):
        finish_verification(proposal=verifying(world), passed=True, reason="", evidence=twice, by=VERIFIER)


def test_a_diff_that_is_not_json_is_refused(world: World) -> None:
    items = [EvidenceItem("diff", "application/json", b"{")]
    with pytest.raises(BadInput, match="not JSON"):
        finish_verification(proposal=verifying(world), passed=True, reason="", evidence=items, by=VERIFIER)


def test_a_small_change_of_the_settings_is_inside_the_envelope(world: World) -> None:
    proposal = ready(world)
    assert (proposal.lane, proposal.lane_reason) == (
        "harness",
        "It changes 2 lines, all of them inside the envelope.",
    )


def test_a_change_of_the_program_is_outside_the_envelope(world: World) -> None:
    proposal = ready(world, BOLDER)
    assert proposal.lane == "harness_outside"
    assert "main.py" in proposal.lane_reason


def test_another_adapter_takes_the_adapter_lane_whatever_the_harness(world: World) -> None:
    assert ready(world, BETTER, make_adapter(world.task)).lane == "adapter"


def test_a_big_change_inside_the_allowed_paths_leaves_the_envelope(world: World) -> None:
    long = {**SEED, "settings.toml": ("file", b"x = 1\n" * 201)}
    assert "the envelope ends at 200" in ready(world, long).lane_reason


def test_without_a_diff_the_wide_lane_is_taken(world: World) -> None:
    items = [EvidenceItem("comparison", "application/json", b"{}")]
    proposal = finish_verification(
        proposal=verifying(world), passed=True, reason="", evidence=items, by=VERIFIER
    )
    assert proposal.lane == "harness_outside"


def test_a_harness_whose_files_are_not_listed_takes_the_wide_lane_whatever_its_diff_shows(
    world: World,
) -> None:
    bare = register_version(kind="harness", digest="a" * 64, task=world.task, manifest={}, by=LOOP)
    release = register_release(
        draft=ReleaseDraft(world.task, bare, None, None, world.seed.binding, "test"), by=LOOP
    )
    proposal = open_proposal(draft=dataclasses.replace(draft_of(world), release=release), by=LOOP)
    proposal = finish_verification(
        proposal=begin_verification(proposal=proposal, by=VERIFIER),
        passed=True,
        reason="",
        evidence=evidence(SEED, BETTER),
        by=VERIFIER,
    )
    assert proposal.lane == "harness_outside"
    assert "list of files of one of the two harnesses is not known" in proposal.lane_reason


def test_a_verification_over_a_base_that_moved_is_void(world: World) -> None:
    slow = verifying(world, BOLDER)
    promoted(world)
    slow.refresh_from_db()
    assert (slow.status, slow.status_reason) == ("stale", "The live release moved: Three votes.")
    with pytest.raises(Stale):
        finish_verification(
            proposal=slow, passed=True, reason="", evidence=evidence(SEED, BOLDER), by=VERIFIER
        )


def test_evidence_that_cannot_be_unpacked_is_called_malformed() -> None:
    malformed: list[object] = [{}, {"files": [{"path": "x"}]}, {"files": 3}, []]
    for broken in malformed:
        with pytest.raises(BadInput, match="malformed"):
            diffs.unpack(json.loads(json.dumps(broken)))


def test_its_campaigns_starter_or_an_operator_may_withdraw_but_no_outsider(world: World) -> None:
    first, second = ready(world), ready(world, BOLDER)
    with pytest.raises(NotAllowed, match="Only whoever proposed"):
        withdraw(proposal=first, reason=REASON, by=world.cast.act("rita"))
    assert withdraw(proposal=first, reason=REASON, by=world.cast.act("starter")).status == "withdrawn"
    assert withdraw(proposal=second, reason=REASON, by=world.cast.act("operator")).status == "withdrawn"


def test_the_loop_may_withdraw_what_it_proposed_and_an_agent_may_not(world: World) -> None:
    with pytest.raises(NotAllowed):
        withdraw(proposal=drafted(world), reason=REASON, by=Actor("agent", "feedback"))
    assert withdraw(proposal=drafted(world), reason=REASON, by=LOOP).status == "withdrawn"


def test_what_is_live_cannot_be_withdrawn(world: World) -> None:
    with pytest.raises(NotAllowed, match="promoted cannot become withdrawn"):
        withdraw(proposal=promoted(world), reason=REASON, by=world.cast.act("operator"))


def test_an_agent_may_propose_an_evaluator_but_proposing_changes_nothing(world: World) -> None:
    agent = Actor("agent", "feedback")
    manifest = evaluator_manifest(FAIRER)
    version = register_version(
        kind="evaluator", digest=json_digest(manifest), task=world.task, manifest=manifest, by=agent
    )
    proposal = open_proposal(
        draft=ProposalDraft("evaluator", world.task, None, version, "Fairer", ""), by=agent
    )
    assert (proposal.lane, proposal.status) == ("evaluator", "draft")


def test_the_subject_moved_error_marks_the_proposal_stale(world: World) -> None:
    proposal = approved(world)
    Evidence.objects.create(
        proposal=proposal, name="late", media_type="text/plain", sha256="0" * 64, size=1, body=b"x"
    )
    with pytest.raises(SubjectMoved, match="The evidence moved"):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))
    proposal.refresh_from_db()
    assert proposal.status == "stale"


def test_what_ended_before_its_subject_was_seen_to_have_moved_stays_as_it_ended(world: World) -> None:
    proposal = ready(world)
    withdraw(proposal=proposal, reason=REASON, by=world.cast.act("operator"))

    @act("proposal.review")
    def find_it_moved(*, proposal: Proposal, by: Actor) -> None:
        raise SubjectMoved("The evidence moved.", proposal.pk)

    with pytest.raises(SubjectMoved):
        find_it_moved(proposal=proposal, by=world.cast.act("rita"))
    proposal.refresh_from_db()
    assert (proposal.status, proposal.status_reason) == ("withdrawn", REASON)
    refusal = AuditEntry.objects.latest("seq")
    assert (refusal.action, refusal.outcome, refusal.object_id) == ("proposal.review", "denied", proposal.ref)


def test_a_pointer_that_moved_behind_the_verifiers_back_voids_its_result(world: World) -> None:
    proposal = verifying(world)
    Pointer.objects.filter(key=proposal.key).update(digest="f" * 64)
    with pytest.raises(SubjectMoved, match="which is void"):
        finish_verification(
            proposal=proposal, passed=True, reason="", evidence=evidence(SEED, BETTER), by=VERIFIER
        )
    proposal.refresh_from_db()
    assert (proposal.status, proposal.evidence.count()) == ("stale", 0)
