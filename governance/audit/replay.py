"""Replay: rebuild the history of every pointer from the entries alone; check each move by the rules. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from governance.audit.canonical import canonical_digest

POLICY_POINTER = "policy"
ROSTER_POINTER = "roster"
Entry = Mapping[str, Any]


class RuleBroken(Exception):
    """One entry does what the rules of its time did not allow."""


@dataclass
class PointerHistory:
    """What was live under one key: the digest now, its generation and every digest before it."""

    live: str = ""
    generation: int = -1
    former: set[str] = field(default_factory=set)


class Replay:
    """The state of governance as the log tells it. Feed every entry in order; `broken` collects sentences."""

    def __init__(self) -> None:
        """Start before the first entry."""
        self.pointers: dict[str, PointerHistory] = {}
        self.broken: list[str] = []
        self.moves = 0
        self._lanes: Mapping[str, Mapping[str, Any]] = {}
        self._roles: dict[tuple[str, str], datetime | None] = {}
        self._count_after = timedelta()
        self._ready: dict[tuple[str, str], Entry] = {}
        self._reviews: dict[str, tuple[Entry, frozenset[str]]] = {}
        self._used: set[str] = set()
        self._emergencies: dict[str, Entry] = {}

    def feed(self, entry: Entry) -> None:
        """Take one entry; what is not allowed, or lacks the facts to judge it by, is noted in `broken`."""
        steps = {
            "role.grant": self._grant,
            "role.revoke": self._revoke,
            "proposal.ready": self._note_ready,
            "proposal.review": self._note_review,
            "proposal.acknowledge": self._note_acknowledged,
            "pointer.move": self._move,
        }
        step = steps.get(entry["action"])
        if step is None or entry["outcome"] != "allowed":
            return
        try:
            step(entry)
        except RuleBroken as error:
            self.broken.append(f"entry {entry['seq']} ({entry['action']} {entry['object']['id']}): {error}")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self.broken.append(
                f"entry {entry['seq']} ({entry['action']}) lacks facts to judge it by: {error!r}"
            )

    def _grant(self, entry: Entry) -> None:
        self._check_in_setup()
        self._roles.setdefault((entry["object"]["id"], entry["detail"]["role"]), None)

    def _revoke(self, entry: Entry) -> None:
        self._check_in_setup()
        self._roles.pop((entry["object"]["id"], entry["detail"]["role"]), None)

    def _check_in_setup(self) -> None:
        if ROSTER_POINTER in self.pointers:
            raise RuleBroken("a role changed without a roster that owners approved")

    def _apply_roster(self, entry: Entry) -> None:
        """The first roster repeats what the set-up gave; in a later one, what is new counts from its own time on."""
        since = _moment(entry["time"]) if ROSTER_POINTER in self.pointers else None
        wanted = {(ref, role) for ref, roles in entry["detail"]["grants"].items() for role in roles}
        if since is None:
            _expect("the first roster", wanted, set(self._roles))
        self._roles = {held: self._roles.get(held, since) for held in sorted(wanted)}

    def _note_ready(self, entry: Entry) -> None:
        subject = entry["detail"]["subject"]
        _expect("the subject's digest", canonical_digest(subject), entry["subject_digest"])
        _expect("the subject's base", subject["base"], entry["before"])
        _expect("the subject's target", subject["target"], entry["after"])
        _expect("the subject's key", subject["key"], entry["detail"]["key"])
        _expect("the subject's policy", subject["policy"], self._live(POLICY_POINTER))
        evidence = sorted([item["name"], item["digest"]] for item in entry["evidence"])
        _expect("the evidence's digest", subject["evidence"], canonical_digest(evidence))
        if not evidence:
            raise RuleBroken("the proposal became ready without evidence")
        self._ready[entry["object"]["id"], entry["subject_digest"]] = entry

    def _note_review(self, entry: Entry) -> None:
        nonce = entry["detail"]["nonce"]
        if nonce in self._reviews:
            raise RuleBroken(f"the nonce {nonce} was given before")
        if (entry["object"]["id"], entry["subject_digest"]) not in self._ready:
            raise RuleBroken("the review is of a subject that was not ready")
        person = entry["actor"]["ref"]
        now = _moment(entry["time"])
        self._reviews[nonce] = (
            entry,
            frozenset(
                role
                for (ref, role), since in self._roles.items()
                if ref == person and (since is None or since + self._count_after <= now)
            ),
        )

    def _note_acknowledged(self, entry: Entry) -> None:
        """A broken glass that was reviewed stays."""
        self._emergencies = {
            key: move
            for key, move in self._emergencies.items()
            if move["detail"]["proposal"] != entry["object"]["id"]
        }

    def _move(self, entry: Entry) -> None:
        key, detail = entry["object"]["id"], entry["detail"]
        pointer = self.pointers.get(key)
        checks = {
            "install": self._check_install,
            "promote": self._check_promote,
            "revert": self._check_revert,
        }
        try:
            _expect("the digest that it replaces", entry["before"], self._live(key))
            if pointer is not None:
                _expect("the generation", detail["generation"], pointer.generation + 1)
            if self._lanes:
                _expect("the policy in force", entry["policy"]["digest"], self._live(POLICY_POINTER))
            checks[detail["kind"]](key, entry)
        finally:  # the move happened, whatever the rules say of it: the rebuilt history follows it
            self._apply(key, entry)

    def _apply(self, key: str, entry: Entry) -> None:
        if key == ROSTER_POINTER:
            self._apply_roster(entry)
        self._emergencies.pop(key, None)
        if "reverts_at" in entry["detail"]:
            self._emergencies[key] = entry
        pointer = self.pointers.setdefault(key, PointerHistory())
        pointer.former.add(pointer.live)
        pointer.live, pointer.generation = entry["after"], entry["detail"]["generation"]
        self.moves += 1
        if key == POLICY_POINTER:
            self._lanes = entry["detail"]["lanes"]
            self._count_after = timedelta(seconds=entry["detail"].get("roles_count_after_s", 0))

    def _check_install(self, key: str, entry: Entry) -> None:
        if key in self.pointers:
            raise RuleBroken(f"{key} was installed before")

    def _check_revert(self, key: str, entry: Entry) -> None:
        if entry["after"] not in self.pointers.get(key, PointerHistory()).former:
            raise RuleBroken(f"{entry['after'][:12]} was never live under {key}")
        if entry["actor"]["kind"] == "human":
            return
        _expect("the kind of actor", entry["actor"]["kind"], "system")
        emergency = self._emergencies.get(key)
        if emergency is None:
            raise RuleBroken("the service reverted by itself what was no emergency")
        _expect("the digest that the emergency replaced", entry["after"], emergency["before"])
        if _moment(entry["time"]) < _moment(emergency["detail"]["reverts_at"]):
            raise RuleBroken(f"the emergency lasts until {emergency['detail']['reverts_at']}")

    def _check_promote(self, key: str, entry: Entry) -> None:
        detail = entry["detail"]
        ready = self._ready.get((detail["proposal"], entry["subject_digest"]))
        if ready is None:
            raise RuleBroken("the subject was never ready under this proposal")
        _expect("the pointer", key, ready["detail"]["key"])
        _expect("the digest that it replaces", entry["before"], ready["before"])
        _expect("the digest made live", entry["after"], ready["after"])
        _expect("the lane", detail["lane"], ready["detail"]["lane"])
        subject = ready["detail"]["subject"]
        _expect("the policy that was approved under", subject["policy"], self._live(POLICY_POINTER))
        if subject["task"]:
            evaluator = self._live(f"evaluator:{subject['task']}")
            _expect("the evaluator that was approved under", subject["evaluator"], evaluator)
        lane = self._lanes[detail["lane"]]
        if lane["quorum"] > 0:
            _expect("the kind of actor", entry["actor"]["kind"], "human")
        excluded = set(ready["detail"]["excluded"]) | set(detail["excluded"])
        people = [
            self._check_approval(approval, entry, ready, lane["role"]) for approval in detail["consumed"]
        ]
        if len(set(people)) != len(people):
            raise RuleBroken("one person's approval is counted twice")
        for person in people:
            if person in excluded:
                raise RuleBroken(f"{person} took part in the change and approved it")
        if len(people) < lane["quorum"]:
            raise RuleBroken(f"{len(people)} approvals, the lane {detail['lane']} asks for {lane['quorum']}")

    def _check_approval(self, approval: Mapping[str, str], move: Entry, ready: Entry, role: str) -> str:
        """The person whose approval this is, once everything about it holds."""
        nonce = approval["nonce"]
        if nonce not in self._reviews:
            raise RuleBroken(f"the approval {nonce} is not in the log before it is used")
        if nonce in self._used:
            raise RuleBroken(f"the approval {nonce} was used before")
        self._used.add(nonce)
        review, roles = self._reviews[nonce]
        person: str = review["actor"]["ref"]
        _expect("the approval's verdict", review["detail"]["verdict"], "approve")
        _expect("the approval's subject", review["subject_digest"], move["subject_digest"])
        _expect("the approval's proposal", review["object"]["id"], ready["object"]["id"])
        _expect("the approver", person, approval["ref"])
        _expect("the kind of approver", review["actor"]["kind"], "human")
        if review["seq"] < ready["seq"]:
            raise RuleBroken(f"{person} approved before the proposal was ready")
        if _moment(review["detail"]["expires_at"]) <= _moment(move["time"]):
            raise RuleBroken(f"{person}'s approval had expired at {review['detail']['expires_at']}")
        if role not in roles or (person, role) not in self._roles:
            raise RuleBroken(f"{person} did not hold the role {role!r}")
        return person

    def _live(self, key: str) -> str:
        return self.pointers[key].live if key in self.pointers else ""


def replay(entries: Iterable[Entry]) -> Replay:
    """The state after all `entries`, which must be the whole log in order."""
    state = Replay()
    for entry in entries:
        state.feed(entry)
    return state


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _expect(what: str, got: object, expected: object) -> None:
    if got != expected:
        raise RuleBroken(f"{what} is {got!r}, expected {expected!r}")
