"""An in-memory sandbox for tests of what is built on sandboxes: programs are Python functions, time is virtual.

It isolates nothing and therefore never runs a harness: only functions that a test hands over. The contract tests
hold it to what the real backend does.
"""

from __future__ import annotations

import hashlib
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loop.errors import SandboxError
from loop.sandbox import verdicts
from loop.sandbox.devices import checked_devices
from loop.sandbox.logs import LogKeeper
from loop.types import Outcome, OutputFile, Probe, SandboxResult, SandboxSpec, Usage

MIB = 1 << 20


class Stopped(Exception):
    """The run passed a limit; carries the outcome and its sentence."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome


@dataclass
class FakeRun:
    """What a fake program can do. Its methods enforce the limits of the spec as a real sandbox would."""

    spec: SandboxSpec
    log: LogKeeper
    out: dict[str, bytes] = field(default_factory=dict)
    clock_s: float = 0.0

    def read(self, path: str) -> bytes:
        """The file at a path inside. Raises FileNotFoundError for what is not mounted."""
        for mount in self.spec.mounts:
            if path == mount.target or path.startswith(f"{mount.target}/"):
                return (mount.source / path[len(mount.target) :].lstrip("/")).read_bytes()
        raise FileNotFoundError(2, "No such file or directory", path)

    def write(self, name: str, data: bytes) -> None:
        """Writes a file in /out. Raises OSError where it is full or the file too large."""
        limits, out = self.spec.limits, self.out | {name: data}
        if len(data) > limits.file_mib * MIB:
            raise OSError(27, "File too large", name)
        if len(out) > limits.out_files or sum(map(len, out.values())) > limits.out_mib * MIB:
            raise OSError(28, "No space left on device", name)
        self.out = out

    def say(self, text: str) -> None:
        """Writes to the log."""
        self.log.feed(text.encode())
        if self.log.total > self.spec.limits.log_kill_mib * MIB:
            raise Stopped(*verdicts.log(self.spec.limits))

    def sleep(self, seconds: float) -> None:
        """Lets virtual time pass."""
        self.clock_s += seconds
        if self.clock_s > self.spec.limits.wall_s:
            raise Stopped(*verdicts.wall(self.spec.limits))


Program = Callable[[FakeRun], int]


class FakeBackend:
    """Runs `programs[argv[-1]]`; a program returns its exit status."""

    name = "fake"
    python = sys.executable
    image = ""

    def __init__(self, programs: Mapping[str, Program]) -> None:
        self.programs = programs

    def probe(self) -> Probe:
        """Always works, and says that it isolates nothing."""
        return Probe(self.name, True, "in-memory functions for tests", {"boundary": "none"})

    def run(self, spec: SandboxSpec, collect_to: Path) -> SandboxResult:
        """See SandboxBackend.run. Raises SandboxError for a program that was not handed over."""
        if spec.argv[-1] not in self.programs:
            raise SandboxError(f"the fake sandbox has no program {spec.argv[-1]}")
        checked_devices(spec.devices)
        run = FakeRun(spec, LogKeeper(spec.limits.log_kib * 1024))
        outcome, reason, code = _call(self.programs[spec.argv[-1]], run)
        usage = Usage(wall_s=run.clock_s, cpu_s=0.0, peak_mib=0.0, processes=1)
        outputs = tuple(_collect(run, name, collect_to) for name in spec.outputs if name in run.out)
        return SandboxResult(outcome, reason, code, run.log.text(), usage, outputs)


def _call(program: Program, run: FakeRun) -> tuple[Outcome, str, int | None]:
    try:
        code = program(run)
    except Stopped as stop:
        return stop.outcome, str(stop), None
    except Exception:
        # The boundary of the pretended process: a crash is its exit status and its log.
        run.log.feed(traceback.format_exc().encode())
        code = 1
    return verdicts.of_exit(code, 0.0, run.spec.limits)


def _collect(run: FakeRun, name: str, target: Path) -> OutputFile:
    (target / name).write_bytes(run.out[name])
    return OutputFile(name, len(run.out[name]), hashlib.sha256(run.out[name]).hexdigest())
