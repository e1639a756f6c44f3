"""What every sandbox backend promises, and what none of them does.

`probe` says whether the backend works here; `run` runs one program and collects its outputs. Collecting is a part
of the run and no call of its own: outputs lie in a memory file system that is gone with the run, and are copied out
between the death of the last process and that moment.

Promised: the program sees only what its spec mounts, has no network but the spec's socket, stays within the
spec's limits, is dead with all its children when `run` returns (or when the caller dies), and only the named
outputs come out, as plain files.

Not promised: anything against a kernel exploit (see each backend's `Probe.facts`), covert channels by time, and
any truth in what the program prints or writes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from loop.types import Probe, SandboxResult, SandboxSpec


class SandboxBackend(Protocol):
    """One way to run an untrusted program. Safe to use from several threads and processes at once."""

    name: str

    @property
    def image(self) -> str:
        """The image that the interpreter inside belongs to; '' where it is this machine's own."""
        ...

    @property
    def python(self) -> str:
        """The path inside of the interpreter that runtimes are built for."""
        ...

    def probe(self) -> Probe:
        """Tries a real run of a trivial program. Never raises; `ok` is False with the remedy in `detail`."""
        ...

    def run(self, spec: SandboxSpec, collect_to: Path) -> SandboxResult:
        """Runs `spec` to its end and copies its named outputs into the empty folder `collect_to`.

        Whatever the program does is an outcome of the result. Raises SandboxError only when the sandbox itself
        could not be used, which says nothing about the program.
        """
        ...
