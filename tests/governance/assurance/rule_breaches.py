"""Every rule that a replay judges, and how the key's holder breaks it: {rule: (forgery, action, sentence)}."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from tests.governance.assurance.history import Forger

Breach = tuple[Callable[[Forger], object], str, str]
CLOCK = {"kind": "system", "ref": "clock", "auth": ""}


def put(place: dict[str, Any], path: str, value: object) -> None:
    """Change one field of an entry."""
    *parents, last = path.split(".")
    for parent in parents:
        place = place[parent]
    place[last] = value


def later(time: str, **by: float) -> str:
    """A time this much later."""
    return (datetime.fromisoformat(time) + timedelta(**by)).isoformat(timespec="milliseconds")


def by_another(lane: str, name: str, nth: int = 0) -> Callable[[Forger], None]:
    """The first approval of a promotion comes from somebody else of the cast."""

    def forge(f: Forger) -> None:
        given = f.of(f.move(lane, nth), "proposal.review")
        given["actor"] = f.person(name)
        for used in f.move(lane, nth)["detail"]["consumed"]:
            if used["nonce"] == given["detail"]["nonce"]:
                used["ref"] = f.refs[name]

    return forge


def not_excluded(lane: str, name: str, *, when_opened: bool) -> Callable[[Forger], None]:
    """Somebody who took part is left out of the list of those who do not count."""

    def forge(f: Forger) -> None:
        move = f.move(lane)
        told = [move, f.of(move, "proposal.ready"), *([f.of(move, "proposal.open")] if when_opened else [])]
        for each in told:
            each["detail"]["excluded"] = [ref for ref in each["detail"]["excluded"] if ref != f.refs[name]]

    return forge


def in_review(path: str, value: Any, lane: str = "adapter") -> Callable[[Forger], None]:
    """One field of the first review."""
    return lambda f: put(f.of(f.move(lane), "proposal.review"), path, value)


def in_subject(part: str, value: str, lane: str = "adapter") -> Callable[[Forger], None]:
    """Another subject, bound by every digest of it."""
    return lambda f: f.rebind(f.move(lane), lambda ready: put(ready, f"detail.subject.{part}", value))


def in_lane(lane: str, other: str) -> Callable[[Forger], None]:
    """Everything about a proposal says that it took another lane."""

    def forge(f: Forger) -> None:
        move = f.move(lane)
        for each in (f.of(move, "proposal.ready"), move):
            each["detail"]["lane"] = other

    return forge


def expired(f: Forger) -> None:
    given = f.of(f.move("adapter"), "proposal.review")
    given["detail"]["expires_at"] = given["time"]


def same_person_twice(f: Forger) -> None:
    move = f.move("adapter")
    first, second = (f.of(move, "proposal.review", nth) for nth in (0, 1))
    second["actor"] = first["actor"]
    for used in move["detail"]["consumed"]:
        used["ref"] = first["actor"]["ref"]


def used_twice(f: Forger) -> None:
    used = f.move("harness")["detail"]["consumed"][0]
    f.move("adapter")["detail"]["consumed"][0] = used


def reviewed_before_ready(f: Forger) -> None:
    move = f.move("adapter")
    given, ready = f.of(move, "proposal.review"), f.of(move, "proposal.ready")
    f.drop(given)
    f.insert(ready, given, before=True)


def role_from_today(f: Forger) -> None:
    """The reviewer whom the roster made one approves at once."""
    by_another("adapter", "ada")(f)


def without_evidence(lane: str, *left: str) -> Callable[[Forger], None]:
    return lambda f: f.rebind(f.move(lane), lambda ready: f.evidence(ready, *left))


def too_soon(lane: str) -> Callable[[Forger], None]:
    return lambda f: f.earlier(f.move(lane), hours=24)


def approved_by_itself(f: Forger) -> None:
    ready = f.of(f.move("adapter"), "proposal.ready")
    f.insert(ready, {**f.one("proposal.approved_by_policy"), "object": ready["object"],
                     "subject_digest": ready["subject_digest"], "time": ready["time"]})  # fmt: skip


def opened_by_an_owner(f: Forger) -> None:
    put(f.of(f.move("evaluator"), "proposal.open"), "actor", f.person("olga"))


def second_verdict(f: Forger) -> None:
    given = f.of(f.move("adapter"), "proposal.review")
    put(f.insert(given, given), "detail", {**given["detail"], "nonce": "another"})


def other_parts(f: Forger) -> None:
    """A release whose digest is not that of its parts."""
    put(f.one("release.register", -1), "detail.harness", "0" * 64)


def reopened(f: Forger) -> None:
    move = f.move("harness")
    f.insert(move, {**f.of(move, "proposal.open"), "time": move["time"]})


def ready_again(f: Forger) -> None:
    move = f.move("harness")
    f.insert(move, copy.deepcopy({**f.of(move, "proposal.ready"), "time": move["time"]}))


def excluded_now(f: Forger) -> None:
    f.move("adapter")["detail"]["excluded"] = []


def on_another_base(f: Forger) -> None:
    """Approved over a release that was live before."""
    seed = f.one("release.register")["after"]
    f.rebind(f.move("adapter"), lambda ready: put(ready, "detail.subject.base", seed))
    move = f.move("adapter")
    for each in (move, *(f.of(move, action) for action in ("proposal.open", "proposal.ready"))):
        each["before"] = seed


def old_policy(f: Forger) -> None:
    first = f.one("pointer.move", object={"type": "pointer", "id": "policy"})["after"]
    in_subject("policy", first)(f)


def old_evaluator(f: Forger) -> None:
    in_subject("evaluator", f.move("evaluator")["before"])(f)


READY, REVIEW, MOVE = "proposal.ready", "proposal.review", "pointer.move"
APPROVALS: dict[str, Breach] = {
    "an approval is missing": (lambda f: f.move("adapter")["detail"]["consumed"].pop(), MOVE, "asks for 2"),
    "nobody approved": (lambda f: put(f.move("harness"), "detail.consumed", []), MOVE, "0 approvals"),
    "the starter approved": (by_another("harness", "starter"), REVIEW, "took part in the change and gave a verdict"),
    "the starter counts": (not_excluded("harness", "starter", when_opened=True), READY, "is not excluded"),
    "who was excluded counts": (not_excluded("harness", "starter", when_opened=False), READY, "is not excluded"),
    "the proposer counts": (opened_by_an_owner, "proposal.open", "proposed it and is not excluded"),
    "the list of the excluded shrank": (excluded_now, MOVE, "who is excluded"),
    "one person counts twice": (same_person_twice, MOVE, "counted twice"),
    "one person gave two verdicts": (second_verdict, REVIEW, "gave a verdict before"),
    "the role is too young": (role_from_today, REVIEW, "or not for long enough"),
    "the role was not held": (by_another("harness", "outsider"), REVIEW, "did not hold the role 'reviewer'"),
    "the approval had expired": (expired, MOVE, "approval had expired"),
    "the approval lasts too long": (
        in_review("detail.expires_at", "2026-01-01T00:00:00Z"), REVIEW, "longer than the policy lets it",
    ),
    "the approval was used before": (used_twice, MOVE, "was used before"),
    "the approval is of another subject": (in_review("subject_digest", "0" * 64), REVIEW, "was not ready"),
    "the approval came first": (reviewed_before_ready, REVIEW, "was not ready"),
    "a token approved": (in_review("actor.auth", "token"), REVIEW, "without signing in"),
    "an agent approved": (in_review("actor.kind", "agent"), REVIEW, "the kind of actor"),
    "no reason was given": (in_review("reason", "ok"), REVIEW, "fewer than 10 characters"),
    "a reviewer decided about an evaluator": (by_another("evaluator", "ravi"), REVIEW, "'evaluator owner'"),
    "a reviewer decided about a policy": (by_another("policy", "ravi"), REVIEW, "'evaluator owner'"),
    "reviewers decided about roles": (by_another("roles", "ravi"), REVIEW, "'evaluator owner'"),
    "a reviewer approved an emergency": (by_another("break_glass", "ravi"), REVIEW, "'operator'"),
    "one owner decided": (lambda f: f.move("policy")["detail"]["consumed"].pop(), MOVE, "the lane policy asks for 2"),
    "the evaluator did not cool off": (too_soon("evaluator"), MOVE, "the lane evaluator cools off for 86400 s"),
    "the policy did not cool off": (too_soon("policy"), MOVE, "the lane policy cools off for 86400 s"),
    "the roles did not cool off": (too_soon("roles"), MOVE, "the lane roles cools off for 86400 s"),
    "nothing is approved by itself": (
        approved_by_itself, "proposal.approved_by_policy", "the policy asks for approvals in the lane adapter",
    ),
    "the clock promoted": (lambda f: put(f.move("adapter"), "actor", CLOCK), MOVE, "the kind of actor"),
}  # fmt: skip
PROPOSALS: dict[str, Breach] = {
    "somebody measured but the verifier": (
        lambda f: put(f.of(f.move("adapter"), READY), "actor", CLOCK), READY, "who verified it",
    ),
    "no evidence": (without_evidence("adapter"), READY, "without evidence"),
    "the lane's evidence is missing": (
        without_evidence("evaluator", "diff", "not_tested"), READY, "asks for the evidence 'rescored'",
    ),
    "an adapter in the lane of a harness": (in_lane("adapter", "harness"), READY, "the lane of another adapter"),
    "an evaluator in the lane of a harness": (in_lane("evaluator", "harness"), READY, "the lane is 'harness'"),
    "a policy in the lane of reverts": (in_lane("policy", "revert"), READY, "the lane is 'revert'"),
    "a harness in the lane of reverts": (in_lane("harness", "revert"), READY, "took the lane 'revert'"),
    "another lane at promotion": (lambda f: put(f.move("adapter"), "detail.lane", "harness"), MOVE, "the lane is"),
    "another kind": (in_subject("kind", "roles"), READY, "the subject's kind"),
    "an old base": (on_another_base, READY, "the base that was decided on"),
    "an old policy": (old_policy, READY, "the policy that was decided under"),
    "an old evaluator": (old_evaluator, READY, "the evaluator that was decided under"),
    "another hidden set": (in_subject("hidden_commitment", "z" * 8), READY, "the subject's hidden set"),
    "another harness": (in_subject("harness", "0" * 64), READY, "the subject's harness"),
    "another runtime": (in_subject("runtime", "0" * 64), READY, "the subject's runtime"),
    "another task": (in_subject("task", "other"), READY, "the subject's task"),
    "it was never opened": (
        lambda f: f.drop(f.of(f.move("adapter"), "proposal.open")), READY, "the proposal was never opened",
    ),
    "it was opened twice": (reopened, "proposal.open", "the proposal was opened before"),
    "it became ready after its end": (ready_again, READY, "the proposal had ended"),
    "it had expired": (
        lambda f: put(f.of(f.move("evaluator"), READY), "detail.expires_at", "2025-10-01T10:00:00Z"), MOVE,
        "the proposal had expired",
    ),
    "it stays open for too long": (
        lambda f: put(f.of(f.move("adapter"), READY), "detail.expires_at", "2026-10-01T10:00:00Z"), READY,
        "the proposal stays open for",
    ),
    "a release of other parts": (other_parts, "release.register", "the release's digest"),
    "a release that was never registered": (
        lambda f: f.drop(f.one("release.register", after=f.move("adapter")["after"])), READY, "was never registered",
    ),
    "an evaluator that was never registered": (
        lambda f: f.drop(f.one("version.register", after=f.move("evaluator")["after"])), READY, "was never registered",
    ),
    "an outsider proposed": (
        lambda f: put(f.of(f.move("evaluator"), "proposal.open"), "actor", f.person("outsider")), "proposal.open",
        "did not hold the role",
    ),
    "a reviewer proposed roles": (
        lambda f: put(f.of(f.move("roles"), "proposal.open"), "actor", f.person("ravi")), "proposal.open",
        "did not hold the role",
    ),
}  # fmt: skip
