"""How the key's holder breaks rules about stops, holds, emergencies, pointers and people: as rule_breaches.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.governance.assurance.forge import SETUP
from tests.governance.assurance.history import Forger
from tests.governance.assurance.rule_breaches import (
    APPROVALS,
    CLOCK,
    MOVE,
    PROPOSALS,
    READY,
    Breach,
    later,
    not_excluded,
    put,
)


def stopped(f: Forger) -> None:
    """Everything is stopped in the middle of a decision, and goes on."""
    given = f.of(f.move("adapter"), "proposal.review", 1)
    f.insert(given, {**f.one("stop"), "time": given["time"], "task": "", "detail": {"scope": ""}})


def held(
    digest: Callable[[Forger], str], lane: str = "adapter", entry: str = "proposal.open"
) -> Callable[[Forger], None]:
    """Something is held before it is proposed, and nobody lets it go."""

    def forge(f: Forger) -> None:
        opened = f.of(f.move(lane), entry)
        new = {**f.all("hold", automatic=False)[0], "time": opened["time"]}
        made = f.insert(opened, new, before=True)
        put(made, "object.id", digest(f))

    return forge


def adapter_of(f: Forger) -> str:
    return str(f.of(f.move("adapter"), "proposal.ready")["detail"]["subject"]["adapter"])


def overdue(f: Forger) -> None:
    """The clock does not take the emergency back, and life goes on."""
    back = f.one("pointer.move", lane="revert", actor=CLOCK)
    f.drop(back)
    near = f.one("hold", automatic=True)
    f.insert(near, {**near, "action": "evidence.read", "time": later(near["time"], minutes=11)})


def acknowledged_by(name: str) -> Callable[[Forger], None]:
    return lambda f: put(f.one("proposal.acknowledge"), "actor", f.person(name))


def ended_alone(action: str, **wanted: Any) -> Callable[[Forger], None]:
    """One person ends what takes two."""

    def forge(f: Forger) -> None:
        first, second = f.all(action, **wanted)[-2:]
        first["detail"]["over"] = True
        f.drop(second)

    return forge


def ended_twice_by_one(action: str) -> Callable[[Forger], None]:
    def forge(f: Forger) -> None:
        first, second = f.all(action)[-2:]
        second["actor"] = first["actor"]

    return forge


def lifted_for_no_revert(f: Forger) -> None:
    """What a revert held is let go by one person, with nothing after it."""
    near = f.one("campaign.finish")
    made = f.insert(near, {**f.one("hold.lift"), "time": near["time"]}, before=True)
    put(made, "object.id", f.one("hold", automatic=True)["object"]["id"])
    made["detail"] = {"asked": [made["actor"]["ref"]], "over": True}


def started_again(f: Forger, near: Mapping[str, Any]) -> None:
    f.insert(near, {**f.one("campaign.start"), "time": near["time"]})


def revert_elsewhere(f: Forger) -> None:
    put(f.one("pointer.move", -1, lane="revert"), "after", f.one("version.register")["after"])


def revert_the_evaluator(f: Forger) -> None:
    back = f.one("pointer.move", -1, lane="revert")
    move = f.move("evaluator")
    put(back, "object.id", move["object"]["id"])
    put(back, "before", move["after"])
    put(back, "after", move["before"])
    put(back, "detail.generation", 2)


def twice_installed(f: Forger) -> None:
    seed = f.one("pointer.move", object={"type": "pointer", "id": "release:digits"})
    again = f.insert(f.move("harness"), {**seed, "time": f.move("harness")["time"]})
    again |= {"before": f.move("harness")["after"], "after": seed["after"]}
    again["detail"]["generation"] = 2


def laxer_than_it_says(f: Forger) -> None:
    """The log claims that the policy asks for less than its text."""
    first = f.one("pointer.move", object={"type": "pointer", "id": "policy"})
    first["detail"]["lanes"]["adapter"]["quorum"] = 1
    f.move("adapter")["detail"]["consumed"].pop()


def stranger(f: Forger) -> None:
    near = f.one("role.grant")
    f.insert(near, {**near, "object": {"type": "person", "id": "p-x"}, "detail": {"role": "reviewer"}})


def self_made_roster(f: Forger) -> None:
    """The owner's second grant after the set-up is over."""
    near = f.move("harness")
    f.insert(near, {**f.one("role.grant"), "time": near["time"]})


def dated_back(f: Forger) -> None:
    move = f.move("adapter")
    put(move, "time", later(f.move("harness")["time"], hours=1))


def account_of_another(f: Forger) -> None:
    near = f.move("harness")
    f.insert(near, {"action": "person.seal", "object": {"type": "person", "id": f.refs["ravi"]}})


def reset(*asked: str, over: str = "", whose: str = "ravi") -> Callable[[Forger], None]:
    """Owners ask to take somebody's second factors off; the last one does it."""

    def forge(f: Forger) -> None:
        near = f.move("harness")
        new = {"action": "factor.reset", "object": {"type": "person", "id": f.refs[whose]}}
        for name, done in [*((name, False) for name in asked), *([(over, True)] if over else [])]:
            near = f.insert(near, {**new, "actor": f.person(name), "detail": {"over": done}})

    return forge


def other_grants(f: Forger) -> None:
    f.move("roles")["detail"]["grants"][f.refs["operator"]] = ["operator", "reviewer"]


BRAKES: dict[str, Breach] = {
    "promoted after a stop": (stopped, MOVE, "or it ended"),
    "opened during a stop": (stopped, "proposal.open", "everything was stopped"),
    "an emergency during a stop": (stopped, READY, "everything was stopped"),
    "a campaign during a stop": (
        lambda f: started_again(f, f.one("stop")),
        "campaign.start",
        "was stopped at entry",
    ),
    "a campaign with a full inbox": (
        lambda f: started_again(f, f.log[-1]),
        "campaign.start",
        "the policy allows 1",
    ),
    "stopped twice": (lambda f: f.insert(f.one("stop"), f.one("stop")), "stop", "was stopped before"),
    "resumed by one": (ended_alone("resume"), "resume", "was resumed by one person"),
    "resumed twice by one": (ended_twice_by_one("resume"), "resume", "asked twice"),
    "resumed by a reviewer": (
        lambda f: put(f.one("resume"), "actor", f.person("ravi")),
        "resume",
        "'evaluator owner",
    ),
    "resumed what was not stopped": (lambda f: f.drop(f.one("stop")), "resume", "where nothing was in force"),
    "stopped by an outsider": (
        lambda f: put(f.one("stop"), "actor", f.person("outsider")),
        "stop",
        "did not hold",
    ),
    "promoted what is held": (held(lambda f: str(f.move("adapter")["after"])), MOVE, "it was held at entry"),
    "promoted a descendant of what is held": (held(adapter_of), MOVE, "which it was made from, was held"),
    "held twice": (lambda f: f.insert(f.one("hold"), f.one("hold")), "hold", "was held before"),
    "let go by one": (ended_alone("hold.lift"), "hold.lift", "was let go by one person"),
    "let go twice by one": (ended_twice_by_one("hold.lift"), "hold.lift", "asked twice"),
    "let go for no revert": (lifted_for_no_revert, "campaign.finish", "no revert to it followed"),
    "let go by one for the revert of another": (
        lambda f: put(f.one("hold.lift", over=True, nth=0), "actor", f.person("rita")),
        MOVE,
        "who let it go for the revert is human",
    ),
    "held by a reviewer": (
        lambda f: put(f.one("hold"), "actor", f.person("ravi")),
        "hold",
        "did not hold the role",
    ),
}
EMERGENCIES: dict[str, Breach] = {
    "of what is held": (
        held(lambda f: str(f.move("break_glass")["after"]), "break_glass", READY), READY, "it was held at entry",
    ),
    "a short reason": (
        lambda f: put(f.of(f.move("break_glass"), READY), "reason", "It is broken."), READY, "fewer than 40 characters",
    ),
    "broken by a reviewer": (
        lambda f: put(f.of(f.move("break_glass"), READY), "actor", f.person("ravi")), READY, "'operator'",
    ),
    "whoever broke it counts": (not_excluded("break_glass", "operator", when_opened=False), READY, "is not excluded"),
    "without an end": (lambda f: f.move("break_glass")["detail"].pop("reverts_at"), MOVE, "without an end"),
    "with a late end": (
        lambda f: put(f.move("break_glass"), "detail.reverts_at", "2025-12-01T00:00:00Z"), MOVE, "the emergency lasts",
    ),
    "live past its end": (overdue, "evidence.read", "nobody reviewed it and it is live"),
    "reviewed by whoever approved it": (acknowledged_by("rita"), "proposal.acknowledge", "reviewed it afterwards"),
    "reviewed by an operator": (acknowledged_by("otto"), "proposal.acknowledge", "did not hold the role 'reviewer'"),
    "reviewed twice": (
        lambda f: f.insert(f.one("proposal.acknowledge"), f.one("proposal.acknowledge")), "proposal.acknowledge",
        "did not wait for a review",
    ),
}  # fmt: skip
POINTERS: dict[str, Breach] = {
    "another release goes live": (
        lambda f: put(f.move("adapter"), "after", f.one("release.register")["after"]), MOVE, "the digest made live",
    ),
    "another one was live": (lambda f: put(f.move("adapter"), "before", "0" * 64), MOVE, "the digest that it replaces"),
    "a generation is left out": (lambda f: put(f.move("adapter"), "detail.generation", 9), MOVE, "the generation"),
    "promoted by a reviewer": (lambda f: put(f.move("adapter"), "actor", f.person("ravi")), MOVE, "'operator'"),
    "reverted to what never was live": (revert_elsewhere, MOVE, "was never registered"),
    "reverted to a release that never was live": (
        lambda f: put(f.one(MOVE, -1, lane="revert"), "after", f.one("release.register", 1)["after"]), MOVE,
        "was never live",
    ),
    "reverted an evaluator": (revert_the_evaluator, MOVE, "only a live release is reverted"),
    "reverted by a reviewer": (
        lambda f: put(f.one(MOVE, -1, lane="revert"), "actor", f.person("ravi")), MOVE, "the role 'operator'",
    ),
    "reverted without a hold": (lambda f: f.drop(f.one("hold", automatic=True)), MOVE, "was taken back and not held"),
    "reverted by the clock": (
        lambda f: put(f.one(MOVE, -1, lane="revert"), "actor", CLOCK), MOVE, "what was no emergency",
    ),
    "reverted by the set-up": (
        lambda f: put(f.one(MOVE, -1, lane="revert"), "actor", SETUP), MOVE, "who took it back",
    ),
    "installed twice": (twice_installed, MOVE, "was installed before"),
    "installed by a reviewer": (lambda f: put(f.one(MOVE, 1), "actor", f.person("ravi")), MOVE, "did not hold"),
    "under another policy": (lambda f: put(f.move("adapter"), "policy.digest", "0" * 64), MOVE, "the policy in force"),
    "a policy that says less than its text": (laxer_than_it_says, MOVE, "what the entry says of the policy's lanes"),
    "a pointer of no kind": (lambda f: put(f.one(MOVE, 1), "object.id", "gate"), MOVE, "is no pointer"),
    "dated back": (dated_back, MOVE, "well before entry"),
}  # fmt: skip
PEOPLE: dict[str, Breach] = {
    "a role without a roster": (self_made_roster, "role.grant", "without a roster that owners approved"),
    "a role for a stranger": (stranger, "role.grant", "p-x was never added"),
    "a role from a person": (
        lambda f: put(f.one("role.grant"), "actor", f.person("olga")), "role.grant", "who gives a role",
    ),
    "whoever a roster concerns counts": (
        not_excluded("roles", "ada", when_opened=True), MOVE, "change, who is not excluded from deciding about it",
    ),
    "another roster than was approved": (other_grants, MOVE, "the roster's digest"),
    "somebody else's account": (account_of_another, "person.seal", "changed the account of"),
    "second factors reset by one owner": (reset("olga", over="olga"), "factor.reset", "asked twice"),
    "second factors reset by one alone": (reset(over="olga"), "factor.reset", "by one person"),
    "second factors reset by oneself": (reset("ravi", over="otto"), "factor.reset", "did not hold the role"),
    "second factors reset for oneself": (reset("otto", whose="otto"), "factor.reset", "reset their own"),
    "installed a task without a role": (
        lambda f: put(f.one("task.install"), "actor", f.person("ravi")), "task.install", "did not hold the role",
    ),
}  # fmt: skip
BREACHES = {**APPROVALS, **PROPOSALS, **BRAKES, **EMERGENCIES, **POINTERS, **PEOPLE}
