"""Replay of rosters and policies: the old rules decide, the new ones rule what follows."""

from __future__ import annotations

from typing import Any

from governance.assurance.replay_rulebook import read_rulebook
from governance.audit.canonical import canonical_digest
from tests.governance.assurance.forge import (
    EVIDENCE,
    OTHER_EVALUATOR,
    POLICY,
    SETUP,
    VERIFIER,
    add,
    entry,
    grant,
    install,
    policy_text,
    review,
    sha256,
    story,
    subject,
    version,
)
from tests.governance.assurance.test_replay import Story, after, broken, sentences, with_subject


def roster(grants: dict[str, list[str]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A roster registered, and its move by the set-up."""
    digest = canonical_digest({"grants": grants})
    detail = {"kind": "install", "generation": 0, "proposal": "", "grants": grants}
    move = entry("pointer.move", ("pointer", "roster"), detail, actor=SETUP, after=digest)
    return version("roster", digest, task=""), move


HELD = {
    "p-rita": ["reviewer"],
    "p-ravi": ["reviewer"],
    "p-starter": ["reviewer"],
    "p-operator": ["operator"],
    "p-ada": ["auditor"],
    "p-olga": ["evaluator owner"],
    "p-otto": ["evaluator owner"],
}


def owned(told: Story, **grants: list[str]) -> Story:
    """The story with two owners and a first roster, of these grants where they are given."""
    extra = {f"add {ref}": add(ref) for ref in ("p-olga", "p-otto")}
    extra |= {f"grant {ref}": grant(ref, "evaluator owner") for ref in ("p-olga", "p-otto")}
    extra["roster version"], extra["roster"] = roster(grants or HELD)
    return after(told, "ada", **extra)


def test_roles_are_given_by_the_set_up_until_the_first_roster_and_by_rosters_after_it() -> None:
    told = owned(story())
    assert broken(told) == []
    wrong_first = owned(story(), **{**HELD, "p-ada": ["auditor", "operator"]})
    assert any("the first roster" in line for line in broken(wrong_first))
    rita = {"kind": "human", "ref": "p-rita", "auth": "session"}
    for wrong, sentence in (
        (grant("p-ada", "operator"), "without a roster"),
        ({**grant("p-rita"), "action": "role.revoke"}, "without a roster"),
        (add("p-rita"), "was added before"),
        (add("p-new"), "the kind of actor"),
    ):
        assert any(sentence in line for line in broken(after(told, "roster", wrong=wrong))), sentence
    by_a_person = after(story(), "operator", wrong=grant("p-ada", by=rita))
    assert any("who gives a role" in line for line in broken(by_a_person))
    stranger = after(story(), "operator", wrong=grant("p-x"))
    assert any("p-x was never added as a person" in line for line in broken(stranger))


def test_a_roster_is_what_its_digest_says_of_known_people_and_keeps_two_owners() -> None:
    told = owned(story())
    told["roster"]["detail"]["grants"] = {**HELD, "p-mallory": ["operator"]}
    found = broken(told)
    assert any("the roster's digest" in line for line in found)
    for grants, sentence in (
        ({**HELD, "p-mallory": ["operator"]}, "p-mallory was never added"),
        ({**HELD, "p-olga": ["viewer"]}, "the roster leaves 1 owners"),
    ):
        assert any(sentence in line for line in broken(owned(story(), **grants))), sentence


STRICTER = policy_text(adapter='approvals = 3\nrole = "reviewer"')
LAXER = policy_text(policy='approvals = 1\nrole = "evaluator owner"\ncooling_off_hours = 24')


def policy_story(text: bytes, *approvers: str, moved_at: str = "2025-11-22T10:00:00.000Z") -> Story:
    """Owners approve a new policy, which goes live at this time, before anything else is proposed."""
    target = sha256(text)
    bound = {
        **dict.fromkeys(subject(), ""),
        "kind": "policy",
        "key": "policy",
        "target": target,
        "base": POLICY,
    }
    bound |= {"policy": POLICY, "evidence": subject()["evidence"]}
    digest = canonical_digest(bound)
    known = {"kind": "policy", "key": "policy", "lane": "policy", "excluded": ["p-operator"]}
    changes = {"before": POLICY, "after": target, "task": ""}
    proposal = ("proposal", "r8")
    extra = {
        "policy 2": version("policy", target, task="", parent=POLICY),
        "policy open": entry("proposal.open", proposal, known, **changes),
        "policy ready": entry(
            "proposal.ready", proposal, {**known, "subject": bound, "expires_at": "2025-12-05T10:00:00.000+00:00"},
            evidence=EVIDENCE, actor=VERIFIER, subject_digest=digest, **changes,
        ),
    }  # fmt: skip
    for ref in approvers:
        given = review(ref, object={"type": "proposal", "id": "r8"}, task="")
        extra[f"review {ref}"] = {**given, "subject_digest": digest}
    consumed = [{"nonce": f"n-{ref}", "ref": ref} for ref in approvers]
    detail = {
        **known, **read_rulebook(text).logged(), "kind": "promote", "generation": 1, "proposal": "r8",
        "consumed": consumed,
    }  # fmt: skip
    extra["policy move"] = entry(
        "pointer.move", ("pointer", "policy"), detail, subject_digest=digest, time=moved_at, **changes
    )
    told = after(owned(story()), "worse release", **extra)
    later = list(told)[list(told).index("policy move") :]
    for name in later:
        told[name]["time"] = moved_at
    for name in later[1:]:
        told[name]["policy"]["digest"] = target
    for name in ("review 1", "review 2"):
        told[name]["detail"]["expires_at"] = "2025-11-25T10:00:00Z"
    return with_subject(told, policy=target)


def test_a_policy_is_judged_by_the_old_rules_and_rules_what_follows() -> None:
    two = ("p-olga", "p-otto")
    found = broken(policy_story(STRICTER, *two), new=STRICTER)
    assert sentences(found) == ["2 approvals, the lane adapter asks for 3"]
    soon = policy_story(STRICTER, *two, moved_at="2025-11-21T12:00:00.000Z")
    assert "the lane policy cools off for 86400 s, it had 7200" in sentences(broken(soon, new=STRICTER))


def test_a_policy_that_would_allow_itself_is_judged_by_the_old_one_and_below_the_floor() -> None:
    found = sentences(broken(policy_story(LAXER, "p-olga"), new=LAXER))
    assert found == [
        "the policy went below what every policy keeps: lane policy asks for 1 approvals, no policy may ask for fewer "
        "than 2"
    ]
    for approvers in (("p-rita", "p-ravi"), ("p-olga",)):
        found = sentences(broken(policy_story(STRICTER, *approvers), new=STRICTER))
        assert any("evaluator owner" in line or "1 approvals" in line for line in found), approvers


def test_a_policy_whose_text_is_not_there_is_not_judged_by_anything_else() -> None:
    found = broken(policy_story(STRICTER, "p-olga", "p-otto"))
    assert f"the text of {sha256(STRICTER)[:12]} is not there to judge by" in sentences(found)
    assert broken({"policy": story()["promote"]})[0].endswith("expected ''")
    started = entry("campaign.start", ("campaign", "c1"), {})
    assert sentences(broken({"start": started})) == ["no policy was in force"]


def test_approvals_under_another_policy_or_evaluator_do_not_count() -> None:
    moved = install("policy", sha256(STRICTER), **read_rulebook(STRICTER).logged())
    told = after(story(), "review 2", other=version("policy", sha256(STRICTER), task=""), moved=moved)
    told["promote"]["policy"]["digest"] = sha256(STRICTER)
    assert any("the policy that was decided under" in line for line in broken(told, new=STRICTER))
    moved = install("evaluator:digits", sha256(OTHER_EVALUATOR))
    told = after(story(), "review 2", moved=moved)
    assert any("the evaluator that was decided under" in line for line in broken(told))
