"""Replay: rebuild the history of every pointer from the entries alone; check each move by the rules. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from governance.audit.canonical import canonical_digest

POLICY_POINTER = "policy"
ROSTER_POINTER = "roster"
EMERGENCY_LANE = "break_glass"
SETUP_ACTOR = {"kind": "system", "ref": "setup", "auth": "command"}
VERIFIER_ACTOR = {"kind": "system", "ref": "verifier", "auth": ""}
SIGNED_IN = ("session", "command")
OPERATOR_ROLE = "operator"  # as governance/roles.py has it
ENDINGS = ("stale", "expired", "withdrawn", "failed", "quarantined")
SLACK_S = 5.0  # an act decides a little before its entry is dated
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
        self._policy: Mapping[str, Any] = {}  # what the policy in force says of lanes, promoters and reasons
        self._roles: dict[tuple[str, str], datetime | None] = {}  # since when, None: from the set-up
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
            **{f"proposal.{ending}": self._note_ending for ending in ENDINGS},
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
        try:
            self._check_in_setup(entry)
        finally:  # what happened, happened, whatever the rules say of it
            self._roles.setdefault((entry["object"]["id"], entry["detail"]["role"]), None)

    def _revoke(self, entry: Entry) -> None:
        try:
            self._check_in_setup(entry)
        finally:
            self._roles.pop((entry["object"]["id"], entry["detail"]["role"]), None)

    def _check_in_setup(self, entry: Entry) -> None:
        """Single roles are given by the set-up alone, which the first roster ends."""
        if ROSTER_POINTER in self.pointers:
            raise RuleBroken("a role changed without a roster that owners approved")
        _expect("who gives a role", entry["actor"], SETUP_ACTOR)

    def _apply_roster(self, entry: Entry) -> None:
        """The first roster repeats what the set-up gave; in a later one, what is new counts from its own time on."""
        since = _moment(entry["time"]) if ROSTER_POINTER in self.pointers else None
        self._roles = {held: self._roles.get(held, since) for held in sorted(_held(entry))}

    def _check_person(self, entry: Entry, roles: Iterable[str]) -> None:
        """Whoever acts is a person who signed in and holds one of the roles."""
        actor, wanted = entry["actor"], sorted(roles)
        _expect("the kind of actor", actor["kind"], "human")
        if actor["auth"] not in SIGNED_IN:
            raise RuleBroken(f"{actor['ref']} acted without signing in ({actor['auth']!r})")
        if self._counting(actor["ref"], _moment(entry["time"])).isdisjoint(wanted):
            raise RuleBroken(f"{actor['ref']} did not hold the role {' or '.join(wanted)!r}")

    def _counting(self, ref: str, now: datetime) -> frozenset[str]:
        """The roles by which a person may decide: from the set-up, or held for as long as the policy asks."""
        waits = timedelta(seconds=self._policy.get("roles_count_after_s", 0) - SLACK_S)
        return frozenset(
            role
            for (who, role), since in self._roles.items()
            if who == ref and (since is None or since + waits <= now)
        )

    def _check_reason(self, entry: Entry) -> None:
        least = self._policy.get("min_reason", 0)
        if len(entry["reason"].strip()) < least:
            raise RuleBroken(f"the reason has fewer than {least} characters")

    def _note_ending(self, entry: Entry) -> None:
        self._close(entry["object"]["id"])

    def _close(self, proposal: str) -> None:
        """After this nothing that was ready under this proposal can be approved or promoted."""
        self._ready = {place: ready for place, ready in self._ready.items() if place[0] != proposal}

    def _note_ready(self, entry: Entry) -> None:
        if entry["detail"]["lane"] == EMERGENCY_LANE:
            self._check_person(entry, {OPERATOR_ROLE})
        else:
            _expect("who verified it", entry["actor"], VERIFIER_ACTOR)
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
        ready = self._ready[entry["object"]["id"], entry["subject_digest"]]
        person = entry["actor"]["ref"]
        self._reviews[nonce] = entry, self._counting(person, _moment(entry["time"]))
        if entry["detail"]["verdict"] != "approve":
            self._close(entry["object"]["id"])
        self._check_person(entry, {self._policy["lanes"][ready["detail"]["lane"]]["role"]})
        self._check_reason(entry)
        if person in ready["detail"]["excluded"]:
            raise RuleBroken(f"{person} took part in the change and gave a verdict")
        _check_before("the proposal", ready["detail"]["expires_at"], entry)
        lasts = (_moment(entry["detail"]["expires_at"]) - _moment(entry["time"])).total_seconds()
        if lasts > self._policy["approvals_expire_s"] + SLACK_S:
            raise RuleBroken(f"the approval counts for {lasts:.0f} s, longer than the policy lets it")

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
            if self._policy:
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
            names = ("lanes", "promoters", "min_reason", "approvals_expire_s", "roles_count_after_s")
            self._policy = {name: entry["detail"][name] for name in names}

    def _check_install(self, key: str, entry: Entry) -> None:
        if key in self.pointers:
            raise RuleBroken(f"{key} was installed before")
        if key == ROSTER_POINTER:
            _expect("the first roster", _held(entry), set(self._roles))
        if entry["actor"] != SETUP_ACTOR:
            self._check_person(entry, {OPERATOR_ROLE})

    def _check_revert(self, key: str, entry: Entry) -> None:
        if entry["after"] not in self.pointers.get(key, PointerHistory()).former:
            raise RuleBroken(f"{entry['after'][:12]} was never live under {key}")
        if entry["actor"]["kind"] != "human":
            self._check_taken_back(key, entry)
            return
        self._check_person(entry, {OPERATOR_ROLE})
        self._check_reason(entry)

    def _check_taken_back(self, key: str, entry: Entry) -> None:
        """The clock takes back an emergency that nobody reviewed in time, and nothing else."""
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
        if entry["actor"]["kind"] == "human" or self._policy["lanes"][detail["lane"]]["quorum"] > 0:
            self._check_person(entry, self._policy["promoters"])
        self._check_reason(entry)
        _check_before("the proposal", ready["detail"]["expires_at"], entry)
        if detail["lane"] == EMERGENCY_LANE and "reverts_at" not in detail:
            raise RuleBroken("an emergency went live without an end")
        self._close(detail["proposal"])
        self._check_approvals(entry, ready)

    def _check_approvals(self, entry: Entry, ready: Entry) -> None:
        """Enough distinct people who had no part in it approved, long enough ago."""
        detail, lane = entry["detail"], self._policy["lanes"][entry["detail"]["lane"]]
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
        if not lane["quorum"]:
            return
        given = sorted(
            _moment(self._reviews[approval["nonce"]][0]["time"]) for approval in detail["consumed"]
        )
        cooled = (_moment(entry["time"]) - given[lane["quorum"] - 1]).total_seconds()
        if cooled < lane["cooling_off_s"] - SLACK_S:
            raise RuleBroken(
                f"the lane {detail['lane']} cools off for {lane['cooling_off_s']} s, it had {cooled:.0f}"
            )

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


def _held(roster_move: Entry) -> set[tuple[str, str]]:
    """Who holds which role by a roster."""
    return {(ref, role) for ref, roles in roster_move["detail"]["grants"].items() for role in roles}


def _check_before(what: str, expires_at: str, entry: Entry) -> None:
    if _moment(expires_at) <= _moment(entry["time"]):
        raise RuleBroken(f"{what} had expired at {expires_at}")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _expect(what: str, got: object, expected: object) -> None:
    if got != expected:
        raise RuleBroken(f"{what} is {got!r}, expected {expected!r}")
