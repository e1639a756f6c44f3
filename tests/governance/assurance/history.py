"""An honest log that shows every kind of act, and the tools of an operator who rewrites it and signs it again."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from governance.actions import (
    ProposalDraft,
    ReleaseDraft,
    acknowledge,
    begin_verification,
    break_glass,
    change_password,
    finish_verification,
    hold,
    lift_hold,
    note_event,
    open_proposal,
    promote,
    promote_due,
    register_release,
    reset_factors,
    resume,
    revert,
    revert_due,
    stop,
)
from governance.actors import LOOP, VERIFIER, Actor
from governance.assurance.judged_by import judged_by
from governance.audit.canonical import canonical_digest
from governance.audit.log import Facts
from governance.models import AuditEntry, Proposal, Release, Version
from governance.pointers import live_release
from governance.policy import bundled_text
from governance.roles import OPERATOR, REVIEWER
from governance.roster import RoleChange
from governance.submitting import submit_policy, submit_roles
from tests.governance.cast import (
    BETTER,
    BOLDER,
    FAIRER,
    REASON,
    SEED,
    Tree,
    World,
    evaluator_manifest,
    evidence,
    make_adapter,
    make_harness,
    make_world,
    say,
    submit_evaluator,
)
from tests.governance.proof.clock import Clock

BEGAN = datetime(2025, 10, 1, 9, tzinfo=UTC)
WHY = "Every answer since midnight is wrong and no former release reads the new scans."
AGENT = Actor("agent", "feedback:search")
IN_ENVELOPE = (
    "[lanes.harness]              # harness change inside the envelope below, adapter unchanged\napprovals = "
)
AUTOMATIC = (
    bundled_text()
    .replace('version = "4"', 'version = "5"')
    .replace(f"{IN_ENVELOPE}1", f"{IN_ENVELOPE}0")
    .replace("most_waiting = 20", "most_waiting = 1")
)
NUMBERED = {
    number: {**SEED, "settings.toml": ("file", f"votes = {number}\n".encode())} for number in range(4, 10)
}


@dataclass(frozen=True)
class History:
    """Entries without an export, the bytes that they are judged by, and the refs of the cast by name."""

    entries: list[dict[str, Any]]
    texts: Mapping[str, bytes]
    refs: Mapping[str, str]


class Telling:
    """Makes the history, act by act, on a clock of its own."""

    def __init__(self) -> None:
        """Set up the instance."""
        self.clock = Clock()
        self.clock.now = BEGAN
        with self.clock.rules():
            self.world: World = make_world({"rita": (OPERATOR,), "otto": (OPERATOR,)})
        self.operator = self.world.cast.act("operator")

    def release(self, tree: Tree, adapter: Version | None = None) -> Release:
        """A release that the campaign made from the live one."""
        task, parent = self.world.task, live_release(self.world.task)
        draft = ReleaseDraft(
            task, make_harness(task, tree), adapter, parent, parent.binding, "campaign c1 generation 1"
        )
        return register_release(draft=draft, by=AGENT)

    def proposed(self, tree: Tree, old: Tree, adapter: Version | None = None) -> Proposal:
        """The campaign's proposal, verified."""
        excluded = (self.world.cast.starter.ref, AGENT.ref)
        draft = ProposalDraft(
            "promote", self.world.task, self.release(tree, adapter), None, "More votes", "It votes.", excluded
        )
        proposal = begin_verification(proposal=open_proposal(draft=draft, by=AGENT), by=AGENT)
        return finish_verification(
            proposal=proposal, passed=True, reason="It is better.", evidence=evidence(old, tree), by=VERIFIER
        )

    def decided(self, proposal: Proposal, *names: str, wait: float = 0) -> None:
        """Approved by these people and promoted by the operator so many hours later."""
        for name in names:
            self.clock.forward(minutes=3)
            say(self.world, name, proposal)
        self.clock.forward(hours=wait, minutes=3)
        promote(proposal=proposal, reason=REASON, by=self.operator)
        self.clock.forward(minutes=3)

    def tell(self) -> None:
        """Everything that people and the service do in this history."""
        world = self.world
        note_event(
            by=world.cast.act("starter"),
            action="campaign.start",
            subject=("campaign", "c1"),
            facts=Facts(task="digits"),
        )
        self.release(NUMBERED[7])
        self.decided(self.proposed(BETTER, SEED), "ravi")
        manifest = evaluator_manifest(FAIRER) | {"hidden_commitment": "i" * 8}
        evaluator = submit_evaluator(world.task, FAIRER, self.operator, manifest)
        self.decided(evaluator, "olga", "otto", wait=25)
        policy = submit_policy(text=AUTOMATIC, summary="By itself.", by=self.operator)
        self.decided(policy, "olga", "otto", wait=25)
        self.proposed(NUMBERED[4], BETTER)
        promote_due()
        roles = submit_roles(
            changes=[RoleChange(world.cast.ada.ref, REVIEWER, "grant")],
            summary="She asked.",
            by=self.operator,
        )
        self.decided(roles, "olga", "otto", wait=25)
        self.decided(self.proposed(NUMBERED[4], NUMBERED[4], make_adapter(world.task)), "rita", "ravi")
        self._emergencies()
        seed, live = world.seed.digest, live_release(world.task).digest
        for target in (seed, live, seed):
            revert(key="release:digits", to_digest=target, reason=REASON, by=self.operator)
        self._brakes()
        self.proposed({**BOLDER, "extra.txt": ("file", b"1")}, SEED)
        self.proposed({**BOLDER, "extra.txt": ("file", b"2")}, SEED)
        stop(scope="elsewhere", reason=REASON, by=world.cast.act("ravi"))

    def _emergencies(self) -> None:
        first = break_glass(release=self.release(BOLDER), reason=WHY, by=self.operator)
        self.decided(first, "rita", "otto")
        first.refresh_from_db()
        acknowledge(proposal=first, reason=REASON, by=self.world.cast.act("ravi"))
        second = break_glass(release=self.release(NUMBERED[5]), reason=WHY, by=self.operator)
        self.decided(second, "rita", "otto")
        self.clock.forward(hours=4)
        revert_due(now=self.clock.now)

    def _brakes(self) -> None:
        release, rita = self.release(NUMBERED[6]), self.world.cast.act("rita")
        hold(digest=release.digest, reason=REASON, by=self.operator)
        for who in (self.operator, rita):
            lift_hold(digest=release.digest, reason=REASON, by=who)
        stop(scope="digits", reason=REASON, by=self.world.cast.act("ravi"))
        for who in (self.operator, self.world.cast.act("otto")):
            resume(scope="digits", reason=REASON, by=who)
        for owner in ("olga", "otto"):
            reset_factors(person=self.world.cast.ravi, reason=REASON, by=self.world.cast.act(owner))
        ravi = self.world.cast.act("ravi")
        change_password(person=self.world.cast.ravi, password="another long pass phrase", by=ravi)
        note_event(by=LOOP, action="campaign.finish", subject=("campaign", "c1"))

    def history(self) -> History:
        """The log so far, the policies and evaluators that were in force, and who is who."""
        cast = self.world.cast
        refs = {name: person.ref for name, person in vars(cast).items()}
        return History([row.entry() for row in AuditEntry.objects.order_by("seq")], judged_by(), refs)


def honest_history() -> History:
    """The whole history, made on the database."""
    telling = Telling()
    with telling.clock.rules():
        telling.tell()
    return telling.history()


class Forger:
    """A copy of the history in the hands of whoever can sign it again. Entries are found by action and content."""

    def __init__(self, history: History) -> None:
        """Begin with the honest entries."""
        self.log: list[dict[str, Any]] = copy.deepcopy(history.entries)
        self.texts, self.refs = dict(history.texts), history.refs

    def all(self, action: str, **wanted: Any) -> list[dict[str, Any]]:
        """The entries of an action whose fields, or fields of the detail, have these values."""
        return [
            each
            for each in self.log
            if each["action"] == action
            and all(each.get(name, each["detail"].get(name)) == value for name, value in wanted.items())
        ]

    def one(self, action: str, nth: int = 0, **wanted: Any) -> dict[str, Any]:
        """One of them."""
        return self.all(action, **wanted)[nth]

    def move(self, lane: str, nth: int = 0) -> dict[str, Any]:
        """The promotion in a lane."""
        return self.one("pointer.move", nth, lane=lane)

    def of(self, move: Mapping[str, Any], action: str, nth: int = 0) -> dict[str, Any]:
        """An entry about the proposal of a promotion."""
        ref = move["detail"]["proposal"]
        return [each for each in self.all(action) if each["object"]["id"] == ref][nth]

    def person(self, name: str) -> dict[str, str]:
        """Somebody of the cast, signed in."""
        return {"kind": "human", "ref": self.refs[name], "auth": "session"}

    def drop(self, *entries: Mapping[str, Any]) -> None:
        """Leave entries out."""
        self.log = [each for each in self.log if not any(each is gone for gone in entries)]

    def insert(
        self, near: Mapping[str, Any], new: Mapping[str, Any], *, before: bool = False
    ) -> dict[str, Any]:
        """A new entry right after (or before) another, dated like it."""
        place = next(number for number, each in enumerate(self.log) if each is near)
        made = {**copy.deepcopy(dict(near)), "evidence": [], "detail": {}, **copy.deepcopy(dict(new))}
        self.log.insert(place if before else place + 1, made)
        return made

    def earlier(self, first: Mapping[str, Any], **by: float) -> None:
        """Date an entry and everything after it earlier."""
        place = next(number for number, each in enumerate(self.log) if each is first)
        for each in self.log[place:]:
            moved = datetime.fromisoformat(each["time"]) - timedelta(**by)
            each["time"] = moved.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def rebind(self, move: Mapping[str, Any], change: Callable[[dict[str, Any]], object]) -> None:
        """Change the subject that a promotion rests on, and every digest of it wherever it stands."""
        ready = self.of(move, "proposal.ready")
        old = ready["subject_digest"]
        change(ready)
        new = canonical_digest(ready["detail"]["subject"])
        self.log = json.loads(json.dumps(self.log).replace(old, new))

    def evidence(self, ready: dict[str, Any], *names: str) -> None:
        """Leave only these pieces of evidence, with their digest in the subject."""
        ready["evidence"] = [item for item in ready["evidence"] if item["name"] in names]
        listed = sorted([item["name"], item["digest"]] for item in ready["evidence"])
        ready["detail"]["subject"]["evidence"] = canonical_digest(listed)
