"""The state of a replay and its rules R1 to R8, written from docs/audit-format.md alone."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import rfc8785

Entry = dict[str, Any]
SETUP, VERIFIER, CLOCK = ("system", "setup", "command"), ("system", "verifier", ""), ("system", "clock", "")
SLACK = timedelta(seconds=5)
LANES = {"harness": 0, "harness_outside": 1, "adapter": 1, "revert": 1, "evaluator": 2, "policy": 2, "roles": 2,
         "break_glass": 2}  # fmt: skip
OWNER = "evaluator owner"
ROLE_OF = {
    "audit.export": ["auditor"], "audit.rotate_key": [OWNER], "token.create": ["auditor", OWNER],
    "token.revoke": ["auditor", OWNER], "task.install": ["operator"], "stop": ["reviewer", "operator", OWNER],
    "factor.reset": [OWNER], "resume": ["operator", OWNER], "hold": ["operator"], "hold.lift": ["operator"],
}  # fmt: skip


class Broken(Exception):
    """A rule, by its number."""


def must(rule: int, holds: object) -> None:
    """Raises Broken unless it holds."""
    if not holds:
        raise Broken(f"R{rule}")


def digest(value: Any) -> str:
    """The digest of a value."""
    return hashlib.sha256(rfc8785.dumps(value)).hexdigest()


def when(text: str) -> datetime:
    """A time."""
    return datetime.fromisoformat(text)


def who(entry: Entry) -> tuple[str, str, str]:
    """The actor as a triple."""
    return entry["actor"]["kind"], entry["actor"]["ref"], entry["actor"]["auth"]


class Policy:
    """What a policy's text says."""

    def __init__(self, text: bytes) -> None:
        """Read it."""
        self.raw = tomllib.loads(text.decode())
        later = {"roles": {"approvals": 2, "role": OWNER, "cooling_off_hours": 24, "evidence": ["diff"]},
                 "break_glass": {"approvals": 2, "role": "operator"}}  # fmt: skip
        self.lanes: dict[str, Any] = {**later, **self.raw["lanes"]}
        self.hours = {
            "approval": self.raw["approvals"]["expire_hours"],
            "proposal": self.raw["approvals"]["proposal_expire_hours"],
            "role": self.raw.get("roles", {}).get("count_after_hours", 24),
            "glass": self.raw.get("break_glass", {}).get("hours", 4),
        }
        self.least = self.raw["approvals"]["min_reason"]
        self.glass_reason = self.raw.get("break_glass", {}).get("min_reason", 40)
        self.waiting = self.raw.get("inbox", {}).get("most_waiting", 20)
        self.promoters = sorted(set(self.raw["promotion"]["roles"]))

    def cools(self, lane: str) -> timedelta:
        """A lane's cooling-off."""
        return timedelta(hours=self.lanes[lane].get("cooling_off_hours", 0))

    def repeated(self) -> dict[str, Any]:
        """R24's numbers."""
        lanes = {
            name: {"quorum": self.lanes[name]["approvals"], "role": self.lanes[name]["role"],
                   "cooling_off_s": int(self.cools(name).total_seconds())}
            for name in LANES
        }  # fmt: skip
        return {
            "lanes": lanes, "promoters": self.promoters, "min_reason": self.least,
            "approvals_expire_s": int(self.hours["approval"] * 3600),
            "roles_count_after_s": int(self.hours["role"] * 3600),
        }  # fmt: skip

    def check_floors(self) -> None:
        """R24."""
        for name, fewest in LANES.items():
            must(24, self.lanes[name]["approvals"] >= fewest)
            if name in {"evaluator", "policy", "roles"}:
                must(24, self.lanes[name]["role"] == OWNER and self.cools(name) >= timedelta(hours=1))
        must(
            24,
            self.hours["glass"] <= 24
            and self.glass_reason >= 40
            and self.hours["role"] >= 1
            and self.least >= 10,
        )


class State:
    """The state of the page."""

    def __init__(self, texts: Mapping[str, bytes]) -> None:
        """Empty."""
        self.texts = texts
        self.live: dict[str, str] = {}
        self.generation: dict[str, int] = {}
        self.former: dict[str, set[str]] = {}
        self.people: set[str] = set()
        self.roles: dict[tuple[str, str], datetime | None] = {}
        self.versions: dict[tuple[str, str, str], str] = {}
        self.releases: dict[str, Entry] = {}
        self.stops: dict[str, set[str]] = {}
        self.holds: dict[str, tuple[bool, set[str]]] = {}
        self.lifted: dict[str, tuple[str, str, str]] = {}
        self.starters: dict[str, str] = {}
        self.resets: dict[str, tuple[datetime, set[str]]] = {}
        self.done: dict[str, tuple[Any, Any]] = {}
        self.open: dict[str, Entry] = {}
        self.ready: dict[str, dict[str, Entry]] = {}
        self.over: set[str] = set()
        self.given: dict[str, tuple[Entry, bool]] = {}
        self.used: set[str] = set()
        self.due: dict[str, set[str]] = {}
        self.glass: dict[str, Entry] = {}
        self.past: dict[str, datetime] = {}
        self.newest: datetime | None = None
        self.policy: Policy | None = None

    @property
    def law(self) -> Policy:
        """The policy in force."""
        must(18, self.policy)
        assert self.policy is not None
        return self.policy

    def feed(self, e: Entry) -> None:
        """One entry. Raises Broken."""
        self.dates(e)
        if e["outcome"] != "allowed":
            return
        must(7, not self.lifted or e["action"] in {"hold", "proposal.quarantined", "pointer.move"})
        if e["action"] in ROLE_OF and not (e["action"] == "task.install" and who(e) == SETUP):
            self.may(2, e, ROLE_OF[e["action"]])
        family, _, act = e["action"].partition(".")
        if family == "proposal" and act in {"stale", "expired", "withdrawn", "failed", "quarantined"}:
            self.end(e["object"]["id"])
        step = getattr(self, "on_" + e["action"].replace(".", "_"), None)
        if step is not None:
            step(e, e["detail"], e["object"]["id"])

    def dates(self, e: Entry) -> None:
        """R1."""
        now = when(e["time"])
        must(1, self.newest is None or now >= self.newest - timedelta(minutes=1))
        self.newest = max(now, self.newest or now)
        for key, move in self.glass.items():
            if now >= when(move["detail"]["reverts_at"]):
                must(1, now <= self.past.setdefault(key, now) + timedelta(minutes=10))

    def holding(self, ref: str, roles: Iterable[str], now: datetime) -> bool:
        """Whether a person may decide in one of the roles."""
        waits = timedelta(hours=self.policy.hours["role"]) - SLACK if self.policy else timedelta(0)
        since = [self.roles[ref, role] for role in roles if (ref, role) in self.roles]
        return any(start is None or start + waits <= now for start in since)

    def may(self, rule: int, e: Entry, roles: Iterable[str]) -> None:
        """A person who signed in acts in one of the roles."""
        kind, ref, auth = who(e)
        must(rule, kind == "human" and auth in {"session", "command"})
        must(rule, self.holding(ref, roles, when(e["time"])))

    def reason(self, rule: int, e: Entry) -> None:
        """A reason as long as the policy asks."""
        must(rule, len(e["reason"].strip()) >= self.law.least)

    def end(self, proposal: str) -> None:
        """R17."""
        self.open.pop(proposal, None)
        self.ready.pop(proposal, None)
        self.over.add(proposal)

    def made_from(self, name: str) -> set[str]:
        """A release and everything that it was made from."""
        found, todo = {name}, [name]
        while todo:
            release = self.releases.get(todo.pop())
            if release is None:
                continue
            for kind in ("harness", "adapter"):
                part = release["detail"][kind]
                while part and part not in found:
                    found.add(part)
                    part = self.versions.get((kind, release["task"], part), "")
            if release["before"] and release["before"] not in found:
                found.add(release["before"])
                todo.append(release["before"])
        return found

    def running(self, rule: int, task: str) -> None:
        """Neither the task nor everything is stopped."""
        must(rule, "" not in self.stops and task not in self.stops)

    def in_force(self, rule: int, subject: Mapping[str, str]) -> None:
        """What a subject rests on is in force."""
        must(rule, subject["base"] == self.live.get(subject["key"], ""))
        must(rule, subject["policy"] == self.live.get("policy", ""))
        must(
            rule,
            not subject["task"] or subject["evaluator"] == self.live.get(f"evaluator:{subject['task']}", ""),
        )

    def on_person_add(self, e: Entry, d: Entry, ref: str) -> None:
        must(3, ref not in self.people)
        self.people.add(ref)
        if not (who(e) == SETUP and "roster" not in self.live):
            self.may(3, e, [OWNER, "operator"])

    def on_factor_reset(self, e: Entry, d: Entry, ref: str) -> None:
        now, owner, day = when(e["time"]), e["actor"]["ref"], timedelta(hours=24)
        began, asked = self.resets.get(ref, (now, set()))
        if not d["over"] and now > began + day - SLACK:
            began, asked = now, set()
        must(26, owner != ref and owner not in asked)
        self.resets[ref] = began, {*asked, owner}
        if d["over"]:
            del self.resets[ref]
            self.done[e["id"]] = e["object"], e["actor"]
            must(26, len(asked) == 1 and now <= began + day + SLACK)

    def on_person_seal(self, e: Entry, d: Entry, ref: str) -> None:
        must(27, e["actor"]["ref"] == ref or self.done.get(e["cause"]) == (e["object"], e["actor"]))

    on_person_password = on_person_seal

    def on_role_grant(self, e: Entry, d: Entry, ref: str) -> None:
        must(4, "roster" not in self.live and who(e) == SETUP and ref in self.people)
        self.roles.setdefault((ref, d["role"]), None)

    def on_role_revoke(self, e: Entry, d: Entry, ref: str) -> None:
        must(4, "roster" not in self.live and who(e) == SETUP)
        self.roles.pop((ref, d["role"]), None)

    def on_version_register(self, e: Entry, d: Entry, ref: str) -> None:
        self.versions.setdefault((d["kind"], e["task"], e["after"]), e["before"])

    def on_release_register(self, e: Entry, d: Entry, ref: str) -> None:
        self.releases.setdefault(e["after"], e)
        must(
            5,
            digest({"task": e["task"], **{n: d[n] for n in ("harness", "adapter", "binding")}}) == e["after"],
        )

    def on_stop(self, e: Entry, d: Entry, ref: str) -> None:
        for proposal, first in {
            **{p: next(iter(r.values())) for p, r in self.ready.items()},
            **self.open,
        }.items():
            if d["scope"] in {"", first["task"]}:
                self.end(proposal)
        must(6, d["scope"] not in self.stops)
        self.stops[d["scope"]] = set()
        self.reason(6, e)

    def on_resume(self, e: Entry, d: Entry, ref: str) -> None:
        must(6, d["scope"] in self.stops)
        asked = self.stops[d["scope"]]
        must(6, e["actor"]["ref"] not in asked)
        asked.add(e["actor"]["ref"])
        must(6, not d["over"] or len(asked) == 2)
        if len(asked) == 2:
            del self.stops[d["scope"]]

    def on_hold(self, e: Entry, d: Entry, name: str) -> None:
        for proposal, first in {
            **{p: next(iter(r.values())) for p, r in self.ready.items()},
            **self.open,
        }.items():
            if name in self.made_from(first["after"]):
                self.end(proposal)
        must(7, name not in self.holds)
        self.holds[name] = d["automatic"], set()
        self.reason(7, e)

    def on_hold_lift(self, e: Entry, d: Entry, name: str) -> None:
        must(7, name in self.holds)
        automatic, asked = self.holds[name]
        if automatic and d["over"] and len(d["asked"]) == 1:
            self.lifted[name] = who(e)
            return
        must(7, e["actor"]["ref"] not in asked)
        asked.add(e["actor"]["ref"])
        must(7, not d["over"] or len(asked) == 2)
        if len(asked) == 2:
            del self.holds[name]

    def on_campaign_start(self, e: Entry, d: Entry, ref: str) -> None:
        self.starters[ref] = e["on_behalf_of"] or e["actor"]["ref"]
        self.running(8, e["task"])
        must(8, len(self.ready) <= self.law.waiting)
