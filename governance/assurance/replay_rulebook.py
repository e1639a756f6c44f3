"""The rules of a policy, read from its own TOML text as an auditor has it. Pure; the standard library alone.

This reads what a replay judges by, and nothing else of the text. It shares no code with governance/policy.py, so that
one cannot hide a mistake of the other; a test holds them against each other.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

REVIEWER_ROLE, OWNER_ROLE, OPERATOR_ROLE, AUDITOR_ROLE = "reviewer", "evaluator owner", "operator", "auditor"
OWNED_LANE_NAMES = frozenset({"evaluator", "policy", "roles"})
LANE_FLOORS = {
    "harness": 0, "harness_outside": 1, "adapter": 1, "evaluator": 2, "policy": 2, "roles": 2, "revert": 1,
    "break_glass": 2,
}  # fmt: skip
# What a policy from before these tables and lanes existed is read as.
LATER_TABLES: Mapping[str, Any] = {
    "roles": {"count_after_hours": 24},
    "break_glass": {"hours": 4, "min_reason": 40},
    "inbox": {"most_waiting": 20},
}
LATER_LANE_TABLES: Mapping[str, Any] = {
    "roles": {"approvals": 2, "role": OWNER_ROLE, "cooling_off_hours": 24, "evidence": ["diff"]},
    "break_glass": {"approvals": 2, "role": OPERATOR_ROLE},
}


@dataclass(frozen=True)
class LaneRules:
    """How one class of change is decided."""

    quorum: int
    role: str
    cooling_off: timedelta
    evidence: frozenset[str]


@dataclass(frozen=True)
class Rulebook:
    """What a policy says of the acts that a log shows."""

    lanes: Mapping[str, LaneRules]
    promoters: frozenset[str]
    min_reason: int
    approvals_last: timedelta
    proposals_last: timedelta
    roles_wait: timedelta
    emergency_lasts: timedelta
    emergency_reason: int
    most_waiting: int

    def lane(self, name: str) -> LaneRules:
        """The rules of a lane. Raises KeyError for an unknown one."""
        return self.lanes[name]

    def logged(self) -> dict[str, Any]:
        """The same rules in the form in which the policy's own move of the pointer repeats them."""
        return {
            "lanes": {
                name: {
                    "quorum": lane.quorum,
                    "role": lane.role,
                    "cooling_off_s": int(lane.cooling_off.total_seconds()),
                }
                for name, lane in self.lanes.items()
            },
            "promoters": sorted(self.promoters),
            "min_reason": self.min_reason,
            "approvals_expire_s": int(self.approvals_last.total_seconds()),
            "roles_count_after_s": int(self.roles_wait.total_seconds()),
        }


def read_rulebook(text: bytes) -> Rulebook:
    """The rules of a policy's TOML text. Raises ValueError, KeyError or TypeError when it is none."""
    raw = {**LATER_TABLES, **tomllib.loads(text.decode("utf-8"))}
    tables = {**LATER_LANE_TABLES, **raw["lanes"]}
    return Rulebook(
        lanes={name: _read_lane(tables[name]) for name in LANE_FLOORS},
        promoters=frozenset(raw["promotion"]["roles"]),
        min_reason=raw["approvals"]["min_reason"],
        approvals_last=timedelta(hours=raw["approvals"]["expire_hours"]),
        proposals_last=timedelta(hours=raw["approvals"]["proposal_expire_hours"]),
        roles_wait=timedelta(hours=raw["roles"]["count_after_hours"]),
        emergency_lasts=timedelta(hours=raw["break_glass"]["hours"]),
        emergency_reason=raw["break_glass"]["min_reason"],
        most_waiting=raw["inbox"]["most_waiting"],
    )


def below_the_floor(rules: Rulebook) -> str:
    """Which floor, that no policy may go below, these rules go below; the empty string when they keep all."""
    for name, fewest in LANE_FLOORS.items():
        lane = rules.lanes[name]
        if lane.quorum < fewest:
            return f"lane {name} asks for {lane.quorum} approvals, no policy may ask for fewer than {fewest}"
        if name in OWNED_LANE_NAMES and lane.role != OWNER_ROLE:
            return f"lane {name} is decided by role {lane.role!r}, not by {OWNER_ROLE!r}"
        if name in OWNED_LANE_NAMES and lane.cooling_off < timedelta(hours=1):
            return f"lane {name} cools off for less than an hour"
    if rules.emergency_lasts > timedelta(hours=24) or rules.emergency_reason < 40:
        return "a broken glass lasts at most 24 hours and takes a reason of at least 40 characters"
    if rules.roles_wait < timedelta(hours=1) or rules.min_reason < 10:
        return "a new role waits for at least an hour, and a reason has at least 10 characters"
    return ""


def _read_lane(table: Mapping[str, Any]) -> LaneRules:
    return LaneRules(
        quorum=table["approvals"],
        role=table["role"],
        cooling_off=timedelta(hours=table.get("cooling_off_hours", 0)),
        evidence=frozenset(table.get("evidence", ())),
    )
