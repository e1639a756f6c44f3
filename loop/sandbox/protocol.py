"""What the service process and the supervisor say to each other: one order in, one report out, as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from loop.types import Limits, Outcome, OutputFile, SandboxResult, Usage

GONE = "the process that asked for this sandbox is gone"


@dataclass(frozen=True, slots=True)
class Order:
    """One run, as the supervisor needs to know it. Paths are absolute host paths.

    `copies` are small trees or files that are copied, `layers` are large trees that are shared; both map
    an absolute path inside to its source. `parent` is the pid of the asking process, `seccomp` the filter in the
    form that the backend takes, `devices` are device nodes that are shown under their own names, `libraries` maps
    their drivers' files inside to those of the host.
    """

    parent: int
    argv: tuple[str, ...]
    python: str
    copies: Mapping[str, str]
    layers: Mapping[str, str]
    env: Mapping[str, str]
    outputs: tuple[str, ...]
    collect_to: str
    limits: Limits
    seccomp: str
    relay: str
    socket: str | None = None
    bwrap: str = ""
    devices: tuple[str, ...] = ()
    libraries: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """One line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_json(cls, line: bytes) -> Order:
        """The inverse of `to_json`."""
        return cls.from_values(json.loads(line))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Order:
        """The order whose `asdict` went through JSON."""
        tuples = {name: tuple(values[name]) for name in ("argv", "outputs", "devices")}
        return cls(**{**values, **tuples, "limits": Limits(**values["limits"])})


@dataclass(frozen=True, slots=True)
class Report:
    """What the supervisor saw. With `error` set (one sentence) there was no run to speak of."""

    error: str = ""
    outcome: str = ""
    reason: str = ""
    exit_code: int | None = None
    log_tail: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[Mapping[str, Any], ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """One line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_json(cls, line: bytes) -> Report:
        """The inverse of `to_json`. Raises ValueError for anything else."""
        values = json.loads(line)
        if not isinstance(values, dict):
            raise ValueError("a report is one JSON object")
        return cls(**values)

    def result(self) -> SandboxResult:
        """The report in the loop's own words."""
        return SandboxResult(
            outcome=Outcome(self.outcome),
            reason=self.reason,
            exit_code=self.exit_code,
            log_tail=self.log_tail,
            usage=Usage(**self.usage),
            outputs=tuple(OutputFile(**item) for item in self.outputs),
        )


def open_asker(parent: int) -> int:
    """A descriptor that becomes readable when the asking process ends; exits where it already has.

    Stdin alone would not do: whatever the asking process forks meanwhile holds its other end open.
    """
    try:
        return os.pidfd_open(parent)
    except ProcessLookupError:
        raise SystemExit(GONE) from None
