"""The policy: typed, frozen, read from TOML. The version in force is a row; the bundled one is a file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from governance.digests import sha256_hex
from governance.errors import BadInput
from governance.models import Version
from governance.pointers import POLICY_KEY, current_digest
from governance.roles import OPERATOR, OWNER, ROLES

BUNDLED: Final = Path(__file__).parent / "policies"
LANES: Final = (
    "harness",
    "harness_outside",
    "adapter",
    "evaluator",
    "policy",
    "roles",
    "revert",
    "break_glass",
)
OWNED_LANES: Final = frozenset({"evaluator", "policy", "roles"})
EPOCH_QUERIES: Final = 40  # of a policy written before it could say
# What a policy version from before these lanes and tables existed is read as.
LATER: Final[Mapping[str, Any]] = {
    "roles": {"count_after_hours": 24},
    "break_glass": {"hours": 4, "min_reason": 40},
    "inbox": {"most_waiting": 20},
}
LATER_LANES: Final[Mapping[str, Any]] = {
    "roles": {"approvals": 2, "role": OWNER, "cooling_off_hours": 24, "evidence": ["diff"]},
    "break_glass": {"approvals": 2, "role": OPERATOR},
}
LATER_ENVELOPE: Final = ("max_changed_bytes", "dependency_files", "forbidden_names")  # else as bundled


@dataclass(frozen=True, slots=True)
class Lane:
    """How one class of change is decided: how many approvals, by whom, after how long, on what evidence."""

    name: str
    approvals: int
    role: str
    cooling_off: timedelta
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Envelope:
    """The harness changes that need one approval only: paths (shell patterns), the size of the changed lines, no file
    that names dependencies, no Python name of the forbidden ones that the live harness does not use already.
    """

    paths: tuple[str, ...]
    max_changed_lines: int
    max_changed_bytes: int
    dependency_files: tuple[str, ...]
    forbidden_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GateDefaults:
    """What a campaign's contract starts from. alpha in (0, 1); smallest_gain in the metric's own unit.

    `hidden_queries` bounds one campaign, `hidden_queries_per_epoch` all campaigns on one hidden set together.
    """

    alpha: float
    hidden_queries: int
    promotions: int
    smallest_gain: float
    hidden_queries_per_epoch: int


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """What broke the glass goes back after `lasts` unless reviewed; its reason has `min_reason` characters."""

    lasts: timedelta
    min_reason: int


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules, as people approved them; `digest` is that of their text."""

    digest: str = field(compare=False)
    name: str
    version: str
    approvals_expire: timedelta
    proposals_expire: timedelta
    min_reason: int
    promoter_roles: frozenset[str]
    lanes: Mapping[str, Lane]
    envelope: Envelope
    gate: GateDefaults
    roles_count_after: timedelta
    break_glass: BreakGlass
    most_waiting: int

    def lane(self, name: str) -> Lane:
        """The lane of this name. Raises BadInput for an unknown one."""
        if name not in self.lanes:
            raise BadInput(f"The policy has no lane {name!r}; it has {', '.join(self.lanes)}.")
        return self.lanes[name]


def parse_policy(text: str) -> Policy:
    """Read a policy from TOML. Raises BadInput with one sentence for the first thing that is wrong."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"The policy is not valid TOML: {error}.") from error
    known = {"name", "version", "approvals", "promotion", "lanes", "envelope", "gate", *LATER}
    raw = {**LATER, **raw}
    _refuse_unknown("the policy", raw, known)
    approvals = _Table("approvals", raw, {"expire_hours", "proposal_expire_hours", "min_reason"})
    promotion = _Table("promotion", raw, {"roles"})
    gate = _Table(
        "gate",
        raw,
        {"alpha", "hidden_queries", "promotions", "smallest_gain", "hidden_queries_per_epoch"},
    )
    roles = _Table("roles", raw, {"count_after_hours"})
    glass = _Table("break_glass", raw, {"hours", "min_reason"})
    inbox = _Table("inbox", raw, {"most_waiting"})
    top = _Table("", {"": raw}, known)
    return Policy(
        digest=sha256_hex(text.encode()),
        name=top.text("name"),
        version=top.text("version"),
        approvals_expire=timedelta(hours=approvals.number("expire_hours", low=1)),
        proposals_expire=timedelta(hours=approvals.number("proposal_expire_hours", low=1)),
        min_reason=approvals.whole("min_reason", low=10),
        promoter_roles=frozenset(_roles("promotion.roles", promotion.texts("roles"))),
        lanes=_lanes(raw.get("lanes", {})),
        envelope=_envelope(raw),
        gate=GateDefaults(
            alpha=gate.number("alpha", low=1e-9, high=0.5),
            hidden_queries=gate.whole("hidden_queries", low=1),
            promotions=gate.whole("promotions", low=1),
            smallest_gain=gate.number("smallest_gain", low=0),
            hidden_queries_per_epoch=gate.whole("hidden_queries_per_epoch", low=1, default=EPOCH_QUERIES),
        ),
        roles_count_after=timedelta(hours=roles.number("count_after_hours", low=1)),
        break_glass=BreakGlass(
            timedelta(hours=glass.number("hours", low=0.1, high=24)), glass.whole("min_reason", low=40)
        ),
        most_waiting=inbox.whole("most_waiting", low=1),
    )


def check_ways_out(policy: Policy) -> None:
    """Raises BadInput for a lane in which nothing could ever be decided, so that nobody is locked in by a policy."""
    for lane in policy.lanes.values():
        if lane.cooling_off and lane.approvals == 0:
            raise BadInput(
                f"Lane {lane.name!r} asks for no approval, so there is nothing after which it cools off."
            )
        if lane.cooling_off >= min(policy.approvals_expire, policy.proposals_expire):
            raise BadInput(
                f"Lane {lane.name!r} cools off for as long as an approval or a proposal lasts, or longer: nothing "
                "in it could ever be decided."
            )


def policy_text(version: Version) -> str:
    """The TOML text of a policy version. Raises BadInput when the row carries none."""
    text = version.manifest.get("toml")
    if not isinstance(text, str):
        raise BadInput(f"Policy {version.digest[:12]} carries no TOML text; it cannot be used.")
    return text


def bundled_text(name: str = "strict") -> str:
    """The TOML text of a bundled policy."""
    return (BUNDLED / f"{name}.toml").read_text(encoding="utf-8")


def policy_now() -> Policy:
    """The policy that decides now; each version is read once per process. Raises BadInput when none was installed."""
    return _policy_of(current_digest(POLICY_KEY))


def policy_in_force() -> tuple[Policy, Version]:
    """The policy that decides now, with its version. Raises BadInput when none was installed."""
    policy = policy_now()
    return policy, _version_of(policy.digest)


def policy_facts() -> dict[str, str] | None:
    """Digest and version of the policy in force, as an audit entry names it; None before one is installed."""
    digest = current_digest(POLICY_KEY)
    if not digest:
        return None
    policy = _policy_of(digest)
    return {"digest": digest, "version": f"{policy.name} {policy.version}"}


@lru_cache(maxsize=64)
def _policy_of(digest: str) -> Policy:
    """The policy of this digest, checked against it: a text that was changed behind the log's back is no policy."""
    policy = parse_policy(policy_text(_version_of(digest)))
    if policy.digest != digest:
        raise BadInput(
            f"The text of policy {digest[:12]} is not the one that was approved; restore it from an export of the log."
        )
    return policy


def _version_of(digest: str) -> Version:
    version = Version.objects.filter(kind=Version.Kind.POLICY, digest=digest).first()
    if version is None:
        raise BadInput("No policy is in force, so nothing can be decided; run `manage.py setup` first.")
    return version


def _lanes(raw: Any) -> Mapping[str, Lane]:
    raw = {**LATER_LANES, **raw} if isinstance(raw, dict) else raw
    if not isinstance(raw, dict) or set(raw) != set(LANES):
        raise BadInput(f"The policy must have exactly these lanes: {', '.join(LANES)}.")
    return MappingProxyType({name: _lane(name, raw) for name in LANES})


def _lane(name: str, lanes: dict[str, Any]) -> Lane:
    table = _Table(name, lanes, {"approvals", "role", "cooling_off_hours", "evidence"}, prefix="lanes.")
    owned = name in OWNED_LANES
    role = _roles(f"lanes.{name}.role", (table.text("role"),))[0]
    if owned and role != OWNER:
        raise BadInput(f"Lane {name!r} must be decided by role {OWNER!r}, not {role!r}.")
    hours = table.number("cooling_off_hours", low=1 if owned else 0, default=None if owned else 0)
    return Lane(
        name=name,
        approvals=table.whole("approvals", low=_fewest_approvals(name)),
        role=role,
        cooling_off=timedelta(hours=hours),
        evidence=table.texts("evidence", default=()),
    )


def _envelope(raw: Mapping[str, Any]) -> Envelope:
    given = raw.get("envelope")
    if isinstance(given, dict):
        bundled = tomllib.loads(bundled_text())["envelope"]
        raw = {"envelope": {**{key: bundled[key] for key in LATER_ENVELOPE}, **given}}
    table = _Table("envelope", raw, {"paths", "max_changed_lines", *LATER_ENVELOPE})
    return Envelope(
        paths=table.texts("paths"),
        max_changed_lines=table.whole("max_changed_lines", low=0),
        max_changed_bytes=table.whole("max_changed_bytes", low=0),
        dependency_files=table.texts("dependency_files"),
        forbidden_names=table.texts("forbidden_names"),
    )


def _fewest_approvals(lane: str) -> int:
    """A policy may let harness changes inside the envelope go live without a person; nothing else."""
    if lane in OWNED_LANES or lane == "break_glass":
        return 2
    return 0 if lane == "harness" else 1


def _roles(where: str, names: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in names if name not in ROLES]
    if unknown or not names:
        raise BadInput(
            f"{where} must name roles among {', '.join(ROLES)}; it has {', '.join(unknown) or 'none'}."
        )
    return names


def _refuse_unknown(where: str, raw: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(raw) - known)
    if unknown:
        raise BadInput(f"{where[:1].upper()}{where[1:]} has unknown keys: {', '.join(unknown)}.")


class _Table:
    """One table of the TOML text, read with sentences for what is wrong."""

    def __init__(self, name: str, raw: Mapping[str, Any], known: set[str], prefix: str = "") -> None:
        values = raw.get(name)
        self.name = f"{prefix}{name}"
        if not isinstance(values, dict):
            raise BadInput(f"The policy lacks the table [{self.name}].")
        _refuse_unknown(f"the table [{self.name}]" if name else "the policy", values, known)
        self.values = values

    def _where(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if not isinstance(value, str) or not value.strip():
            raise BadInput(f"The policy's {self._where(key)} must be a text that is not empty.")
        return value

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        value = self.values.get(key, default)
        if not isinstance(value, (list, tuple)) or not all(isinstance(part, str) and part for part in value):
            raise BadInput(f"The policy's {self._where(key)} must be a list of texts.")
        return tuple(value)

    def number(self, key: str, low: float, high: float = 1e9, default: float | None = None) -> float:
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise BadInput(f"The policy's {self._where(key)} must be a number from {low:g} to {high:g}.")
        return float(value)

    def whole(self, key: str, low: int, default: int | None = None) -> int:
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise BadInput(f"The policy's {self._where(key)} must be a whole number of at least {low}.")
        return value
