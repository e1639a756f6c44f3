"""Replay accepts an honest history and names the rule that a dishonest one breaks."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from governance.assurance.bundle import Pins, check_bundle
from governance.assurance.bundle_parts import OK, RULE_BROKEN
from governance.assurance.replay import replay
from governance.assurance.replay_rulebook import read_rulebook
from governance.audit.canonical import canonical_digest
from tests.governance.assurance.forge import (
    BETTER,
    BINDING,
    EVALUATOR,
    KEY,
    POLICY,
    SEED,
    TEXTS,
    WORSE,
    Forged,
    by_digest,
    entry,
    install,
    numbered,
    parts,
    policy_text,
    release_of,
    review,
    sha256,
    story,
    subject,
)

Story = dict[str, dict[str, Any]]


def broken(told: Story, **texts: bytes) -> list[str]:
    """What the replay says; `texts` are known beside those of the story."""
    known = {**TEXTS, **{sha256(text): text for text in texts.values()}}
    return replay(numbered(list(told.values())), by_digest(known)).broken


def ruled_by(told: Story, text: bytes) -> Story:
    """The story from its first entry on under another policy."""
    known = read_rulebook(text).logged()
    renamed = json.loads(json.dumps(told).replace(POLICY, sha256(text)))
    renamed["policy"]["detail"] |= known
    return with_subject(renamed, policy=sha256(text))


def with_subject(told: Story, **changes: str) -> Story:
    """The story with another subject, bound by every digest of it."""
    bound = told["ready"]["detail"]["subject"] | changes
    told["ready"]["detail"]["subject"] = bound
    for name in ("ready", "review 1", "review 2", "promote"):
        told[name]["subject_digest"] = canonical_digest(bound)
    told["revert"]["subject_digest"] = canonical_digest(told["revert"]["detail"]["subject"])
    return told


def sentences(found: list[str]) -> list[str]:
    return [line.partition(": ")[2] for line in found]


def after(told: Story, name: str, **more: dict[str, Any]) -> Story:
    """The story with more entries right after the one of this name."""
    result: Story = {}
    for key, value in told.items():
        result[key] = value
        if key == name:
            result |= more
    return result


def moved_before(told: Story, name: str, other: str) -> Story:
    """The story with one entry moved right before another."""
    result: Story = {}
    for key, value in told.items():
        if key == other:
            result[name] = told[name]
        if key != name:
            result[key] = value
    return result


def test_an_honest_history_is_rebuilt() -> None:
    state = replay(numbered(list(story().values())), by_digest(TEXTS))
    assert state.broken == []
    assert state.moves == 5
    live = {key: history.live for key, history in state.pointers.items()}
    assert live == {"policy": POLICY, "evaluator:digits": EVALUATOR, "release:digits": SEED}
    assert state.pointers["release:digits"].generation == 2


def test_denied_and_unknown_entries_change_nothing() -> None:
    denied = {**story()["promote"], "outcome": "denied"}
    other = entry("campaign.started", ("campaign", "7"), {})
    told = after(story(), "rita", denied=denied, other=other)
    assert broken(told) == []


def change(name: str, path: str, value: Any) -> Callable[[Story], Story]:
    """A forger who changes one field of one entry."""

    def apply(told: Story) -> Story:
        place = told[name]
        *parents, last = path.split(".")
        for parent in parents:
            place = place[parent]
        place[last] = value
        return told

    return apply


def without(name: str) -> Callable[[Story], Story]:
    def apply(told: Story) -> Story:
        return {key: value for key, value in told.items() if key != name}

    return apply


TWICE = [{"nonce": "n-p-rita", "ref": "p-rita"}, {"nonce": "n-p-rita", "ref": "p-rita"}]
ONE = [{"nonce": "n-p-rita", "ref": "p-rita"}]
STARTER = [{"nonce": "n-p-rita", "ref": "p-rita"}, {"nonce": "n-p-starter", "ref": "p-starter"}]
WRONG_SUBJECT = {**subject(), "target": WORSE}


@pytest.mark.parametrize(
    ("forge", "sentence"),
    [
        (change("promote", "detail.consumed", ONE), "1 approvals, the lane adapter asks for 2"),
        (change("promote", "detail.consumed", []), "0 approvals"),
        (change("promote", "detail.consumed", TWICE), "was used before"),
        (change("promote", "before", WORSE), "the digest that it replaces"),
        (change("promote", "after", WORSE), "the digest made live"),
        (change("promote", "subject_digest", "0" * 64), "never ready"),
        (change("promote", "detail.proposal", "r9"), "never ready"),
        (change("promote", "detail.lane", "harness"), "the lane"),
        (change("promote", "detail.generation", 5), "the generation"),
        (change("promote", "policy.digest", WORSE), "the policy in force"),
        (change("promote", "object.id", "release:other"), "the digest that it replaces"),
        (change("promote", "time", "2025-11-24T10:00:00.000Z"), "had expired"),
        (change("review 1", "detail.verdict", "reject"), "the review is of a subject that was not ready"),
        (change("review 1", "actor.auth", "token"), "without signing in"),
        (change("review 2", "actor.ref", "p-starter"), "took part in the change and gave a verdict"),
        (change("review 1", "detail.expires_at", "2025-11-24T10:00:09Z"), "longer than the policy lets it"),
        (change("review 1", "time", "2025-12-05T10:00:00.000Z"), "the proposal had expired"),
        (change("promote", "time", "2025-12-05T10:00:00.000Z"), "the proposal had expired"),
        (change("promote", "actor.ref", "p-rita"), "did not hold the role 'operator'"),
        (change("promote", "actor.kind", "system"), "the kind of actor"),
        (change("revert", "actor.ref", "p-rita"), "did not hold the role 'operator'"),
        (change("ready", "actor.ref", "loop"), "who verified it"),
        (change("seed", "actor.ref", "loop"), "the kind of actor"),
        (change("review 1", "reason", "fine"), "the reason has fewer than 10 characters"),
        (change("promote", "reason", " short   "), "the reason has fewer than 10 characters"),
        (change("policy", "detail.min_reason", 0), "what the entry says of the policy's min_reason"),
        (change("policy", "detail.lanes.adapter.quorum", 0), "what the entry says of the policy's lanes"),
        (change("rita", "actor.ref", "loop"), "who gives a role"),
        (change("review 1", "actor.ref", "p-ravi"), "the approver"),
        (change("review 1", "actor.kind", "agent"), "the kind of approver"),
        (change("review 1", "object.id", "r7"), "not ready"),
        (change("review 1", "subject_digest", "0" * 64), "not ready"),
        (change("review 2", "detail.nonce", "n-p-rita"), "was given before"),
        (change("review 1", "outcome", "denied"), "not in the log before it is used"),
        (without("review 1"), "not in the log before it is used"),
        (without("ready"), "not ready"),
        (without("rita"), "did not hold the role"),
        (change("rita", "detail.role", "viewer"), "did not hold the role"),
        (change("ready", "detail.subject", WRONG_SUBJECT), "the subject's digest"),
        (change("ready", "before", WORSE), "the subject's base"),
        (change("ready", "after", WORSE), "the target is"),
        (change("ready", "detail.key", "release:other"), "the proposal's key"),
        (change("ready", "evidence", []), "the evidence's digest"),
        (change("revert", "after", WORSE), "was never live"),
        (change("revert", "before", WORSE), "the digest that it replaces"),
        (change("revert", "actor.kind", "agent"), "who took it back"),
        (change("revert", "detail.kind", "force"), "lacks facts"),
        (change("promote", "detail", {}), "lacks facts"),
        (change("review 1", "detail", {}), "lacks facts"),
        (lambda told: moved_before(told, "review 1", "ready"), "not ready"),
        (lambda told: moved_before(told, "review 2", "revert"), "not in the log before it is used"),
        (lambda told: moved_before(told, "rita", "promote"), "did not hold the role"),
    ],
)
def test_a_dishonest_history_is_named(forge: Callable[[Story], Story], sentence: str) -> None:
    found = broken(forge(copy.deepcopy(story())))
    assert any(sentence in line for line in found), found


def test_the_approval_of_one_who_took_part_does_not_count() -> None:
    told = after(story(), "review 2", third=review("p-starter"))
    told["promote"]["detail"]["consumed"] = STARTER
    assert any("p-starter took part in the change" in line for line in broken(told))


def test_one_person_with_two_approvals_is_one_person() -> None:
    second = review("p-rita")
    second["detail"]["nonce"] = "another"
    told = after(story(), "review 2", third=second)
    told["promote"]["detail"]["consumed"] = [*ONE, {"nonce": "another", "ref": "p-rita"}]
    assert any("counted twice" in line for line in broken(told))


def test_a_verdict_may_be_given_again_once_the_first_has_expired_and_not_before() -> None:
    for given_at, refused in (("2025-11-23T10:00:00.000Z", True), ("2025-11-25T10:00:00.000Z", False)):
        again = review("p-rita", time=given_at)
        again["detail"] |= {"nonce": "again", "expires_at": "2025-11-25T12:00:00Z"}
        found = broken(after(story(), "review 2", again=again))
        assert any("gave a verdict before" in line for line in found) == refused


def test_a_role_taken_back_before_the_promotion_does_not_count() -> None:
    revoke = {**story()["rita"], "action": "role.revoke"}
    assert any("did not hold" in line for line in broken(after(story(), "review 2", revoke=revoke)))
    again = copy.deepcopy(story()["rita"])
    assert broken(after(story(), "review 2", revoke=revoke, again=again)) == []


def test_approvals_are_used_once() -> None:
    told = story()
    again = {**copy.deepcopy(told["promote"]), "before": SEED}
    again["detail"]["generation"] = 3
    assert any("never ready" in line for line in broken(after(told, "revert", again=again)))
    ready = copy.deepcopy(told["ready"])
    found = broken(after(told, "revert", ready2=ready, again=again))
    assert any("the proposal had ended" in line for line in found)
    assert any("was held at entry" in line for line in found)


def test_a_verdict_against_it_is_no_approval_even_when_it_became_ready_again() -> None:
    told = story()
    told["review 1"]["detail"]["verdict"] = "reject"
    assert any(
        "the approval's verdict" in line for line in broken(after(told, "review 1", ready2=told["ready"]))
    )


@pytest.mark.parametrize("ending", ["stale", "expired", "withdrawn", "failed", "quarantined"])
def test_a_proposal_that_ended_is_not_promoted(ending: str) -> None:
    ended = entry(f"proposal.{ending}", ("proposal", "r1"), {})
    assert any("never ready" in line for line in broken(after(story(), "review 2", ended=ended)))


def test_readiness_without_evidence_or_without_the_lanes_evidence_is_named() -> None:
    told = with_subject(story(), evidence=canonical_digest([]))
    told["ready"]["evidence"] = []
    assert any("without evidence" in line for line in broken(told))
    strict = policy_text(adapter='approvals = 2\nrole = "reviewer"\nevidence = ["comparison", "rescored"]')
    found = broken(ruled_by(story(), strict), strict=strict)
    assert [line.partition(": ")[2] for line in found] == [
        "the lane adapter asks for the evidence 'rescored'"
    ]


def test_a_release_that_only_runs_with_something_else_is_no_adapter() -> None:
    detail = {**parts(""), "binding": {**BINDING, "runtime": "q" * 64}}
    told = json.loads(json.dumps(story()).replace(BETTER, release_of(detail)))
    told["better release"]["detail"] = detail
    found = broken(with_subject(told, adapter="", runtime="q" * 64))
    assert sentences(found) == ["the lane of another runtime is 'adapter', expected 'harness_outside'"]


def test_readiness_declared_again_after_the_reviews_asks_for_new_ones() -> None:
    told = story()
    again = copy.deepcopy(told["ready"])
    assert any(
        "before the proposal was ready" in line for line in broken(after(told, "review 2", again=again))
    )


def test_a_second_install_of_a_pointer_is_named() -> None:
    second = {**install("release:digits", SEED), "before": BETTER}
    second["detail"]["generation"] = 2
    told = after(story(), "promote", second=second)
    assert any("was installed before" in line for line in broken(told))


def test_a_bundle_of_a_dishonest_history_verifies_up_to_the_broken_rule() -> None:
    assert check_bundle(Forged(list(story().values())).files(), Pins([str(KEY)])).status == OK
    forged = change("promote", "detail.consumed", ONE)(story())
    report = check_bundle(Forged(list(forged.values())).files(), Pins([str(KEY)]))
    assert report.status == RULE_BROKEN and "asks for 2" in report.problem and len(report.steps) == 8
