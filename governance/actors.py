"""Who acts. Every act names its actor; there is no default and no anonymous one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, an agent or a part of the system. `ref` is a pseudonym, never a personal name."""

    kind: Literal["human", "agent", "system"]
    ref: str
    auth: str = ""

    def as_entry(self) -> dict[str, str]:
        """The form in which an audit entry names this actor."""
        return {"kind": self.kind, "ref": self.ref, "auth": self.auth}


LOOP = Actor("system", "loop")
VERIFIER = Actor("system", "verifier")
CLOCK = Actor("system", "clock")
SETUP = Actor("system", "setup", "command")
