"""What every part of the replay shares: entries, rules that can be broken, and what is live. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from governance.assurance.replay_rulebook import Rulebook

POLICY_POINTER = "policy"
ROSTER_POINTER = "roster"
SETUP_ACTOR = {"kind": "system", "ref": "setup", "auth": "command"}
VERIFIER_ACTOR = {"kind": "system", "ref": "verifier", "auth": ""}
CLOCK_ACTOR = {"kind": "system", "ref": "clock", "auth": ""}
SLACK = timedelta(seconds=5)  # an act decides a little before its entry is dated
Entry = Mapping[str, Any]


class RuleBroken(Exception):
    """One entry does what the rules of its time did not allow."""


@dataclass
class PointerHistory:
    """What was live under one key: the digest now, its generation and every digest before it."""

    live: str = ""
    generation: int = -1
    former: set[str] = field(default_factory=set)


@dataclass
class Scene:
    """What stands at one moment of the log: every pointer, and the rules of the policy in force.

    `bytes_of` gives the bytes that a digest of a policy or an evaluator is of, or None where they are not known.
    """

    bytes_of: Callable[[str], bytes | None]
    pointers: dict[str, PointerHistory] = field(default_factory=dict)
    policy: Rulebook | None = None

    @property
    def rules(self) -> Rulebook:
        """The rules in force. Raises RuleBroken before the first policy."""
        if self.policy is None:
            raise RuleBroken("no policy was in force")
        return self.policy

    def live(self, key: str) -> str:
        """The digest in force under a key, or the empty string."""
        return self.pointers[key].live if key in self.pointers else ""

    def content(self, digest: str) -> bytes:
        """The bytes behind a digest. Raises RuleBroken when nobody gave them."""
        data = self.bytes_of(digest)
        if data is None:
            raise RuleBroken(f"the text of {digest[:12]} is not there to judge by")
        return data

    def check_reason(self, entry: Entry) -> None:
        """Raises RuleBroken for a reason shorter than the policy asks."""
        least = self.rules.min_reason
        if len(entry["reason"].strip()) < least:
            raise RuleBroken(f"the reason has fewer than {least} characters")


def moment(text: str) -> datetime:
    """A time as an entry writes it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def expect(what: str, got: object, expected: object) -> None:
    """Raises RuleBroken when two values differ that should be the same."""
    if got != expected:
        raise RuleBroken(f"{what} is {got!r}, expected {expected!r}")


def expect_actor(what: str, entry: Entry, expected: Mapping[str, str]) -> None:
    """Raises RuleBroken when somebody else acted than who alone may."""
    if entry["actor"] != expected:
        got = f"{entry['actor']['kind']} {entry['actor']['ref']!r}"
        raise RuleBroken(f"{what} is {got}, expected {expected['kind']} {expected['ref']!r}")


def check_before(what: str, expires_at: str, entry: Entry) -> None:
    """Raises RuleBroken for an entry dated after this."""
    if moment(expires_at) <= moment(entry["time"]):
        raise RuleBroken(f"{what} had expired at {expires_at}")


def check_lasts(what: str, until: str, entry: Entry, most: timedelta) -> None:
    """Raises RuleBroken when `until` is further from the entry than the policy lets it be."""
    lasts = moment(until) - moment(entry["time"])
    if lasts > most + SLACK:
        raise RuleBroken(
            f"{what} for {lasts.total_seconds():.0f} s, longer than the policy lets it ({most.total_seconds():.0f} s)"
        )
