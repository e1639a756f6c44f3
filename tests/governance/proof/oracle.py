"""What must be true of the trusted core, written from the pages about it and not from its code. Pure.

The oracle is told of each act before it is done. It says whether the act must succeed and, where it does, changes its
own picture of the world, which the tables have to equal afterwards. It imports nothing of `governance`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

REVIEWER, OWNER, OPERATOR = "reviewer", "evaluator owner", "operator"
EPOCH = datetime(1, 1, 1, tzinfo=UTC)  # of what counts from the beginning
OPEN = {"draft", "verifying", "ready", "in_review", "approved"}
DECIDABLE = {"ready", "in_review", "approved"}
OWNED = {"evaluator", "policy", "roles"}
Roster = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Rules:
    """A policy, as the test that wrote its text means it. Times in hours."""

    name: str
    quorum: dict[str, int]
    promoters: frozenset[str] = frozenset({OPERATOR})
    approval_lasts: float = 72
    proposal_lasts: float = 336
    role_counts_after: float = 24
    emergency_lasts: float = 4

    def role(self, lane: str) -> str:
        """Who decides about a lane."""
        return OWNER if lane in OWNED else OPERATOR if lane == "break_glass" else REVIEWER

    def cooling_off(self, lane: str) -> timedelta:
        """How long a lane waits after its quorum."""
        return timedelta(hours=24 if lane in OWNED else 0)


@dataclass(frozen=True)
class Actor:
    """Who acts: a person by ref (`human`), or a part of the service (`system`), or an agent."""

    kind: str
    ref: str
    signed_in: bool = True


@dataclass
class Verdict:
    """One person's verdict on one proposal."""

    ref: str
    verdict: str
    at: datetime
    expires: datetime
    used: bool = False


@dataclass(frozen=True)
class Build:
    """What a release is made of, and everything that it was made from."""

    task: str
    main: int
    settings: int
    adapter: str
    ancestry: frozenset[str]


@dataclass
class Ask:
    """A proposal. `target` and `base` are digests; `roster` is what a proposal about roles would put in force."""

    ref: str
    kind: str
    key: str
    task: str
    target: str
    base: str
    proposer: str
    excluded: frozenset[str]
    roster: Roster | None = None
    status: str = "draft"
    lane: str = ""
    expires: datetime = EPOCH
    verdicts: list[Verdict] = field(default_factory=list)
    review_due: bool = False
    reverts_at: datetime | None = None


class Oracle:
    """The world as it must be."""

    def __init__(self, now: datetime, rules: Rules, roster: Iterable[tuple[str, str]]) -> None:
        """Begin with what the set-up made: these roles count at once."""
        self.now = now
        self.rules = rules
        self.policies: dict[str, Rules] = {}
        self.roles: dict[tuple[str, str], datetime] = dict.fromkeys(roster, EPOCH)
        self.people = {ref for ref, _ in self.roles}
        self.inactive: set[str] = set()
        self.live: dict[str, tuple[str, int]] = {}
        self.former: dict[str, list[str]] = {}
        self.builds: dict[str, Build] = {}
        self.versions: set[str] = set()
        self.asks: dict[str, Ask] = {}
        self.halts: dict[str, list[str]] = {}
        self.holds: dict[str, tuple[bool, list[str]]] = {}
        self.signer = True

    # --- people ---

    def known(self, by: Actor) -> bool:
        """A person known here, with a working account, who signed in."""
        return by.kind == "human" and by.signed_in and by.ref in self.people - self.inactive

    def holds_role(self, ref: str, role: str, at: datetime) -> bool:
        """Whether this person's role decided at that time, and is still theirs."""
        since = self.roles.get((ref, role))
        if since is None or ref in self.inactive:
            return False
        return since == EPOCH or since + timedelta(hours=self.rules.role_counts_after) <= at

    def may(self, by: Actor, *roles: str) -> bool:
        """Whether the actor is a person one of whose roles is old enough to decide."""
        return self.known(by) and any(self.holds_role(by.ref, role, self.now) for role in roles)

    def halted(self, task: str) -> bool:
        """Whether the stop switch is thrown over this task or over everything."""
        return "" in self.halts or task in self.halts

    def is_held(self, digest: str) -> bool:
        """Whether this release or version is held, or was made from what is."""
        return bool(self.made_from(digest) & self.holds.keys())

    def made_from(self, digest: str) -> frozenset[str]:
        """A release or version, with everything that a release was made from."""
        return self.builds[digest].ancestry if digest in self.builds else frozenset({digest})

    # --- proposals ---

    def lane_of(self, ask: Ask) -> str:
        """The lane, from what the release changes against the live one."""
        if ask.kind != "promote":
            return ask.kind
        old, new = self.builds[ask.base], self.builds[ask.target]
        if old.adapter != new.adapter:
            return "adapter"
        return "harness" if old.main == new.main and old.settings != new.settings else "harness_outside"

    def same_open(self, key: str, target: str) -> Ask | None:
        """The open proposal that asks for the same over the same."""
        base = self.live[key][0]
        same = (ask for ask in self.asks.values() if (ask.key, ask.target, ask.base) == (key, target, base))
        return next((ask for ask in same if ask.status in OPEN), None)

    def may_propose(self, by: Actor, key: str, task: str, target: str) -> bool:
        """Working people and all agents propose; nothing while stopped, nothing held, nothing that is live."""
        working = by.kind != "human" or self.may(by, REVIEWER, OPERATOR, OWNER)
        return working and not self.halted(task) and not self.is_held(target) and self.live[key][0] != target

    def becomes_ready(self, ask: Ask) -> None:
        """Its evidence is complete: decidable from now on; approved where the policy asks nobody."""
        ask.lane = self.lane_of(ask)
        ask.expires = self.now + timedelta(hours=self.rules.proposal_lasts)
        ask.status = "ready" if self.rules.quorum[ask.lane] else "approved"

    def may_review(self, by: Actor, ask: Ask) -> bool:
        """One unexpired verdict each, of people who had no part, on what is decidable."""
        if ask.status not in DECIDABLE or ask.expires <= self.now or by.ref in ask.excluded:
            return False
        given = any(verdict.ref == by.ref and verdict.expires > self.now for verdict in ask.verdicts)
        return not given and self.may(by, self.rules.role(ask.lane))

    def reviewed(self, by: Actor, ask: Ask, verdict: str) -> None:
        """One verdict is no decision before the quorum; one rejection is."""
        until = self.now + timedelta(hours=self.rules.approval_lasts)
        ask.verdicts.append(Verdict(by.ref, verdict, self.now, until))
        if verdict != "approve":
            ask.status = {"reject": "rejected", "request_changes": "changes_requested"}[verdict]
        elif len(self.counted(ask)) >= self.rules.quorum[ask.lane]:
            ask.status = "approved"
        elif ask.status == "ready":
            ask.status = "in_review"

    def counted(self, ask: Ask) -> list[Verdict]:
        """The approvals that count now."""
        role = self.rules.role(ask.lane)
        return [
            given
            for given in ask.verdicts
            if given.verdict == "approve"
            and not given.used
            and given.expires > self.now
            and given.ref not in ask.excluded
            and self.holds_role(given.ref, role, given.at)
        ]

    def may_promote(self, by: Actor, ask: Ask) -> bool:
        """Every guard, with the roles and rules of today."""
        quorum, counted = self.rules.quorum[ask.lane] if ask.lane else 0, self.counted(ask)
        automatic = by.kind == "system" and by.ref == "clock" and quorum == 0
        if ask.status != "approved" or len(counted) < quorum or ask.expires <= self.now:
            return False
        if quorum and counted[quorum - 1].at + self.rules.cooling_off(ask.lane) > self.now:
            return False
        if self.halted(ask.task) or self.is_held(ask.target) or not self.signer:
            return False
        return automatic or self.may(by, *self.rules.promoters)

    def promoted(self, ask: Ask) -> None:
        """The pointer moves; the approvals are used; what lost its ground goes stale."""
        for given in self.counted(ask):
            given.used = True
        self._retire(ask.key, "superseded")
        if ask.kind == "break_glass":
            ask.review_due = True
            ask.reverts_at = self.now + timedelta(hours=self.rules.emergency_lasts)
        ask.status = "promoted"
        self.point(ask.key, ask.target)
        kind = ask.key.partition(":")[0]
        if kind == "policy":
            self.rules = self.policies[ask.target]
        if ask.roster is not None:
            self.roles = {grant: self.roles.get(grant, self.now) for grant in ask.roster}
        for other in self.open_asks():
            if other.key == ask.key or kind == "policy" or (kind == "evaluator" and other.task == ask.task):
                other.status = "stale"

    def point(self, key: str, digest: str) -> None:
        """Move a pointer."""
        _, generation = self.live.get(key, ("", -1))
        self.live[key] = digest, generation + 1
        self.former.setdefault(key, []).append(digest)

    def open_asks(self) -> Iterator[Ask]:
        """What is open now."""
        yield from [ask for ask in self.asks.values() if ask.status in OPEN]

    def _retire(self, key: str, status: str) -> None:
        for ask in self.asks.values():
            if ask.key == key and ask.status == "promoted":
                ask.status = status

    # --- the way back ---

    def held_by_people(self, digest: str) -> bool:
        """Whether people hold this release, or what it was made from; what a revert held does not count."""
        return any(not self.holds[held][0] for held in self.builds[digest].ancestry & self.holds.keys())

    def may_revert(self, by: Actor, key: str, digest: str) -> bool:
        """An operator, alone, to a release that was live and that nobody holds; also while stopped."""
        if not key.startswith("release:") or not self.may(by, OPERATOR) or not self.signer:
            return False
        was_live = digest in self.former.get(key, []) and digest != self.live[key][0]
        return was_live and not self.held_by_people(digest)

    def reverted(self, by: Actor, key: str, digest: str) -> None:
        """What was live is held with everything made from it; what comes back is free again."""
        self.free(digest)
        self.put_hold(self.live[key][0], automatic=True)
        self.go_back(by, key, digest)

    def free(self, digest: str) -> None:
        """What an earlier revert held is free again."""
        if digest in self.holds and self.holds[digest][0]:
            del self.holds[digest]

    def go_back(self, by: Actor, key: str, digest: str) -> None:
        """The pointer goes back, by a proposal that waits for its review; its ref is not known yet."""
        self._retire(key, "reverted")
        task = key.partition(":")[2]
        ask = Ask("new", "revert", key, task, digest, self.live[key][0], by.ref, frozenset({by.ref}))
        ask.status, ask.lane, ask.review_due = "promoted", "revert", True
        self.point(key, digest)
        for other in self.open_asks():
            if other.key == key:
                other.status = "stale"
        self.asks[f"revert {key} {self.live[key][1]}"] = ask

    def put_hold(self, digest: str, *, automatic: bool) -> None:
        """Hold a digest, unless it is held; what is open and made from it is quarantined."""
        self.holds.setdefault(digest, (automatic, []))
        for ask in self.open_asks():
            if digest in self.made_from(ask.target):
                ask.status = "quarantined"

    def way_back(self, key: str, digest: str) -> str | None:
        """The release that was live last, was not made from this digest, and that nobody holds."""
        return next(
            (
                former
                for former in reversed(self.former[key])
                if digest not in self.builds[former].ancestry and not self.held_by_people(former)
            ),
            None,
        )

    def lineage(self, digest: str) -> list[tuple[str, str | None]]:
        """(key, way back) of every task whose live release was made from this digest."""
        keys = sorted(key for key in self.live if key.startswith("release:"))
        return [
            (key, self.way_back(key, digest))
            for key in keys
            if digest in self.builds[self.live[key][0]].ancestry
        ]

    # --- stopping ---

    def stopped(self, scope: str) -> None:
        """Everything open in scope is quarantined."""
        self.halts[scope] = []
        for ask in self.open_asks():
            if scope in {"", ask.task}:
                ask.status = "quarantined"

    def may_withdraw(self, by: Actor, ask: Ask) -> bool:
        """Whoever proposed it or started it, or an operator; whom a change of roles concerns has no say."""
        if ask.status not in OPEN | {"changes_requested"}:
            return False
        if by.kind != "human":
            return by.ref == ask.proposer
        own = by.ref == ask.proposer or (by.ref in ask.excluded and ask.kind != "roles")
        return self.known(by) and (own or (by.ref, OPERATOR) in self.roles)

    def may_acknowledge(self, by: Actor, ask: Ask) -> bool:
        """A reviewer who neither asked for it nor approved it."""
        part = {*ask.excluded, *(given.ref for given in ask.verdicts)}
        return ask.review_due and by.ref not in part and self.may(by, REVIEWER)

    # --- the clock ---

    def expired(self) -> None:
        """What is past its date, and what was approved by approvals that count no more, expires."""
        for ask in self.open_asks():
            lost = ask.status == "approved" and len(self.counted(ask)) < self.rules.quorum[ask.lane]
            if ask.status in DECIDABLE and (ask.expires <= self.now or lost):
                ask.status = "expired"

    def overdue(self) -> list[Ask]:
        """Emergencies that nobody reviewed in time and that are still live."""
        return [
            ask
            for ask in self.asks.values()
            if ask.status == "promoted" and ask.reverts_at is not None and ask.reverts_at <= self.now
        ]
