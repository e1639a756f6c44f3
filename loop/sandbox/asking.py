"""How the service process asks a supervisor for a run, and what a spec may ask for at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from io import BufferedReader, FileIO
from pathlib import Path

from loop.errors import SandboxError
from loop.sandbox.protocol import Report
from loop.sandbox.spawner import ENVIRONMENT, Supervisor
from loop.types import Mount, SandboxResult

RESERVED = frozenset({
    "out", "scratch", "tmp", "proc", "dev", "usr", "bin", "lib", "lib32", "lib64", "etc", "run", "venv", "python",
})  # fmt: skip
TARGET = re.compile(r"/([A-Za-z0-9_]+)(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
END_S = 30.0


def ask(
    supervisor: Path, order: bytes, timeout_s: float, environment: Mapping[str, str] = ENVIRONMENT
) -> SandboxResult:
    """Starts a supervisor of its own for one order; see `exchange`."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(supervisor)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
        cwd="/",
        start_new_session=True,
    )
    assert process.stdin and process.stdout and process.stderr
    ends = [os.dup(pipe.fileno()) for pipe in (process.stdin, process.stdout, process.stderr)]
    for pipe in (process.stdin, process.stdout, process.stderr):
        pipe.close()
    try:
        return exchange(Supervisor(process.pid, *ends), order, timeout_s)
    finally:
        process.wait()


def exchange(supervisor: Supervisor, order: bytes, timeout_s: float) -> SandboxResult:
    """Gives a supervisor its order and takes its report. Its stdin stays open till then: closing it means 'stop'.

    Raises SandboxError when it could not carry the order out.
    """
    with (
        open(supervisor.stdin, "wb", buffering=0) as stdin,
        open(supervisor.stdout, "rb") as stdout,
        open(supervisor.stderr, "rb") as stderr,
    ):
        try:
            report = _report(stdin, stdout, stderr, order, timeout_s)
        finally:
            stdin.close()
            if not _ended(stdout):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(supervisor.pid, signal.SIGKILL)
    if report.error:
        raise SandboxError(report.error)
    return report.result()


def _report(
    stdin: FileIO, stdout: BufferedReader, stderr: BufferedReader, order: bytes, timeout_s: float
) -> Report:
    with contextlib.suppress(BrokenPipeError):
        while order:
            order = order[stdin.write(order) :]
    if not _readable(stdout, timeout_s):
        raise SandboxError(f"the sandbox's supervisor gave no report within {timeout_s:g} s and was stopped")
    line = stdout.readline()
    try:
        return Report.from_json(line)
    except (ValueError, TypeError):
        words = stderr.read().decode(errors="replace").strip().splitlines()
        raise SandboxError(
            f"the sandbox's supervisor failed: {words[-1] if words else 'no report'}"
        ) from None


def _ended(stdout: BufferedReader) -> bool:
    """Whether the supervisor ends by itself, now that its stdin is closed: it still has to clear up."""
    return _readable(stdout, END_S) and not stdout.read(1)


def _readable(pipe: BufferedReader, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def checked_targets(mounts: tuple[Mount, ...]) -> dict[str, str]:
    """{path inside: host path}. Raises SandboxError for a target that is the sandbox's own, odd or used twice."""
    targets: dict[str, str] = {}
    for mount in mounts:
        shape = TARGET.fullmatch(mount.target)
        if shape is None or shape[1] in RESERVED or mount.target in targets:
            raise SandboxError(f"{mount.target} cannot be a mount target inside the sandbox")
        targets[mount.target] = str(mount.source.resolve())
    return targets


def checked_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names themselves. Raises SandboxError for one that is no plain file name."""
    for name in names:
        if name in {"", ".", ".."} or "/" in name or "\0" in name:
            raise SandboxError(f"{name!r} is not a plain file name for an output")
    return names


def filter_digest(path: Path) -> str:
    """A system-call filter's digest as every score records it: `sha256:` and 64 hex digits."""
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
