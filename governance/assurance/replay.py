"""Replay: rebuild the history of every pointer from the entries alone; check each move by the rules. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from governance.assurance.replay_brakes import Brakes
from governance.assurance.replay_people import People
from governance.assurance.replay_proposals import EMERGENCY_LANE, Proposals
from governance.assurance.replay_rulebook import OPERATOR_ROLE, below_the_floor, read_rulebook
from governance.assurance.replay_terms import (
    CLOCK_ACTOR,
    POLICY_POINTER,
    ROSTER_POINTER,
    SETUP_ACTOR,
    Entry,
    PointerHistory,
    RuleBroken,
    Scene,
    check_before,
    check_lasts,
    expect,
    expect_actor,
    moment,
)
from governance.audit.canonical import canonical_digest

ENDINGS = ("stale", "expired", "withdrawn", "failed", "quarantined")
CLOCKS_DIFFER = timedelta(minutes=1)  # by so much an entry may be dated before an earlier one
TAKEN_BACK_WITHIN = timedelta(
    minutes=10
)  # from the first entry after an emergency's end to the last before its revert


class Replay:
    """The state of governance as the log tells it. Feed every entry in order; `broken` collects sentences."""

    def __init__(self, bytes_of: Callable[[str], bytes | None]) -> None:
        """Start before the first entry; `bytes_of` gives the bytes behind the digest of a policy or an evaluator."""
        self._scene = Scene(bytes_of)
        self._people = People(self._scene)
        self._brakes = Brakes()
        self._proposals = Proposals(self._scene, self._people, self._brakes)
        self._emergencies: dict[str, Entry] = {}
        self._overdue: dict[
            str, datetime
        ] = {}  # pointer: the first entry after its emergency should have ended
        self._latest: tuple[datetime, int] | None = None
        self.broken: list[str] = []
        self.moves = 0
        self._steps: Mapping[str, Callable[[Entry], None]] = {
            "person.add": self._people.note_added,
            "person.seal": self._people.note_account,
            "person.password": self._people.note_account,
            "factor.reset": self._people.note_reset,
            "role.grant": self._people.note_grant,
            "role.revoke": self._people.note_revoke,
            "version.register": self._brakes.note_version,
            "release.register": self._brakes.note_release,
            "stop": self._stop,
            "resume": self._brakes.note_resume,
            "hold": self._hold,
            "hold.lift": self._brakes.note_lift,
            "campaign.start": self._proposals.note_campaign,
            "proposal.open": self._proposals.note_open,
            "proposal.ready": self._proposals.note_ready,
            "proposal.approved_by_policy": self._proposals.note_approved_by_policy,
            "proposal.review": self._proposals.note_review,
            "proposal.acknowledge": self._acknowledge,
            "pointer.move": self._move,
            **{f"proposal.{ending}": self._proposals.note_ending for ending in ENDINGS},
        }

    @property
    def pointers(self) -> Mapping[str, PointerHistory]:
        """What is, and was, live under each key."""
        return self._scene.pointers

    def feed(self, entry: Entry) -> None:
        """Take one entry; what is not allowed, or lacks the facts to judge it by, is noted in `broken`."""
        self._judge(entry, self._check_dates)
        if entry["outcome"] != "allowed":
            return
        self._judge(entry, self._brakes.check_pending)
        self._judge(entry, self._people.check_act)
        step = self._steps.get(entry["action"])
        if step is not None:
            self._judge(entry, step)

    def _judge(self, entry: Entry, step: Callable[[Entry], None]) -> None:
        try:
            step(entry)
        except RuleBroken as error:
            self.broken.append(f"entry {entry['seq']} ({entry['action']} {entry['object']['id']}): {error}")
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            self.broken.append(
                f"entry {entry['seq']} ({entry['action']}) lacks facts to judge it by: {error!r}"
            )

    def _check_dates(self, entry: Entry) -> None:
        """Dates go on as the numbers do, and nothing stays live past its emergency's end."""
        now = moment(entry["time"])
        if self._latest is not None and now < self._latest[0] - CLOCKS_DIFFER:
            raise RuleBroken(f"it is dated {entry['time']}, well before entry {self._latest[1]}")
        if self._latest is None or now > self._latest[0]:
            self._latest = now, entry["seq"]
        for key, emergency in list(self._emergencies.items()):
            until = emergency["detail"]["reverts_at"]
            first = self._overdue.setdefault(key, now) if now >= moment(until) else now
            if now > first + TAKEN_BACK_WITHIN:
                del self._emergencies[key]
                raise RuleBroken(
                    f"the emergency of entry {emergency['seq']} ended at {until}, nobody reviewed it and it is live"
                )

    def _stop(self, entry: Entry) -> None:
        scope = entry["detail"]["scope"]
        self._proposals.close_all(lambda opened: scope in {"", opened["task"]})
        self._brakes.note_stop(entry)
        self._scene.check_reason(entry)

    def _hold(self, entry: Entry) -> None:
        digest = entry["object"]["id"]
        self._proposals.close_all(lambda opened: digest in self._brakes.ancestry(opened["after"]))
        self._brakes.note_hold(entry)
        self._scene.check_reason(entry)

    def _acknowledge(self, entry: Entry) -> None:
        """A broken glass that was reviewed stays."""
        self._emergencies = {
            key: move
            for key, move in self._emergencies.items()
            if move["detail"]["proposal"] != entry["object"]["id"]
        }
        self._proposals.note_acknowledged(entry)

    def _move(self, entry: Entry) -> None:
        key, detail = entry["object"]["id"], entry["detail"]
        pointer = self.pointers.get(key)
        checks = {
            "install": self._check_install,
            "promote": self._check_promote,
            "revert": self._check_revert,
        }
        try:
            expect("the digest that it replaces", entry["before"], self._scene.live(key))
            expect("the generation", detail["generation"], pointer.generation + 1 if pointer else 0)
            expect("the policy in force", entry["policy"]["digest"], self._scene.live(POLICY_POINTER))
            self._check_target(key, entry)
            checks[detail["kind"]](key, entry)
        finally:  # the move happened, whatever the rules say of it: the rebuilt history follows it
            self._apply(key, entry)

    def _check_target(self, key: str, entry: Entry) -> None:
        """What goes live was registered as what the pointer is of; a policy keeps the floors and says what it says."""
        kind, _, task = key.partition(":")
        if kind == "release":
            self._brakes.release(entry["after"], task)
        elif kind == "evaluator" or key in {POLICY_POINTER, ROSTER_POINTER}:
            self._brakes.check_version(kind, task, entry["after"])
        else:
            raise RuleBroken(f"{key!r} is no pointer")
        if key == ROSTER_POINTER:
            self._people.check_roster(entry)
        if key == POLICY_POINTER:
            rules = read_rulebook(self._scene.content(entry["after"]))
            if floor := below_the_floor(rules):
                raise RuleBroken(f"the policy went below what every policy keeps: {floor}")
            for name, value in rules.logged().items():
                expect(f"what the entry says of the policy's {name}", entry["detail"][name], value)

    def _apply(self, key: str, entry: Entry) -> None:
        if key == ROSTER_POINTER:
            self._people.apply_roster(entry)
        self._emergencies.pop(key, None)
        self._overdue.pop(key, None)
        if "reverts_at" in entry["detail"]:
            self._emergencies[key] = entry
        pointer = self._scene.pointers.setdefault(key, PointerHistory())
        if pointer.live:
            pointer.former.add(pointer.live)
        pointer.live, pointer.generation = entry["after"], entry["detail"]["generation"]
        self.moves += 1
        if key == POLICY_POINTER:
            self._scene.policy = read_rulebook(self._scene.content(entry["after"]))

    def _check_install(self, key: str, entry: Entry) -> None:
        if key in self.pointers:
            raise RuleBroken(f"{key} was installed before")
        if key == ROSTER_POINTER:
            self._people.check_first_roster(entry)
        if entry["actor"] != SETUP_ACTOR:
            self._people.check(entry, {OPERATOR_ROLE})

    def _check_revert(self, key: str, entry: Entry) -> None:
        if not key.startswith("release:"):
            raise RuleBroken("only a live release is reverted; this goes back by a proposal")
        if entry["after"] not in self.pointers.get(key, PointerHistory()).former:
            raise RuleBroken(f"{entry['after'][:12]} was never live under {key}")
        expect("the subject's digest", canonical_digest(entry["detail"]["subject"]), entry["subject_digest"])
        self._proposals.wait_for_review(entry["detail"]["proposal"], {entry["actor"]["ref"]})
        if entry["actor"]["kind"] != "human":
            self._check_taken_back(key, entry)
            return
        self._people.check(entry, {OPERATOR_ROLE})
        self._scene.check_reason(entry)
        self._brakes.check_not_held(entry["after"], but_for_reverts=True)
        self._brakes.check_taken_back(entry["before"])
        self._brakes.end_revert(entry)

    def _check_taken_back(self, key: str, entry: Entry) -> None:
        """The clock takes back an emergency that nobody reviewed in time, and nothing else."""
        expect_actor("who took it back", entry, CLOCK_ACTOR)
        emergency = self._emergencies.get(key)
        if emergency is None:
            raise RuleBroken("the service reverted by itself what was no emergency")
        expect("the digest that the emergency replaced", entry["after"], emergency["before"])
        if moment(entry["time"]) < moment(emergency["detail"]["reverts_at"]):
            raise RuleBroken(f"the emergency lasts until {emergency['detail']['reverts_at']}")

    def _check_promote(self, key: str, entry: Entry) -> None:
        detail, rules = entry["detail"], self._scene.rules
        ready = self._proposals.ready(detail["proposal"], entry["subject_digest"])
        self._proposals.close(detail["proposal"])
        expect("the pointer", key, ready["detail"]["key"])
        expect("the digest that it replaces", entry["before"], ready["before"])
        expect("the digest made live", entry["after"], ready["after"])
        expect("the lane", detail["lane"], ready["detail"]["lane"])
        expect("who is excluded", sorted(detail["excluded"]), sorted(ready["detail"]["excluded"]))
        self._proposals.check_current(ready["detail"]["subject"])
        self._brakes.check_running(ready["task"])
        self._brakes.check_not_held(entry["after"])
        if entry["actor"] != CLOCK_ACTOR or rules.lane(detail["lane"]).quorum > 0:
            self._people.check(entry, rules.promoters)
        self._scene.check_reason(entry)
        check_before("the proposal", ready["detail"]["expires_at"], entry)
        if key == ROSTER_POINTER:
            self._check_concerned(entry)
        if detail["lane"] == EMERGENCY_LANE:
            if "reverts_at" not in detail:
                raise RuleBroken("an emergency went live without an end")
            check_lasts("the emergency lasts", detail["reverts_at"], entry, rules.emergency_lasts)
            self._proposals.wait_for_review(detail["proposal"], set(detail["excluded"]))
        self._proposals.check_approvals(entry, ready)

    def _check_concerned(self, entry: Entry) -> None:
        """Whoever gains or loses a role does not decide about it."""
        for ref in self._people.concerned(entry):
            if ref not in entry["detail"]["excluded"]:
                raise RuleBroken(f"the roles of {ref} change, who is not excluded from deciding about it")


def replay(entries: Iterable[Entry], bytes_of: Callable[[str], bytes | None]) -> Replay:
    """The state after all `entries`, which must be the whole log in order."""
    state = Replay(bytes_of)
    for entry in entries:
        state.feed(entry)
    return state
