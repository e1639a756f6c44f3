"""How the service process asks a supervisor for a run, and what a spec may ask for at all."""

from __future__ import annotations

import contextlib
import hashlib
import re
import select
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from loop.errors import SandboxError
from loop.sandbox.protocol import Report
from loop.types import Mount, SandboxResult

RESERVED = frozenset({
    "out", "scratch", "tmp", "proc", "dev", "usr", "bin", "lib", "lib32", "lib64", "etc", "run", "venv", "python",
})  # fmt: skip
TARGET = re.compile(r"/([A-Za-z0-9_]+)(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
END_S = 30.0
MINIMAL_ENV: Mapping[str, str] = {"LANG": "C.UTF-8"}


def ask(
    supervisor: Path, order: bytes, timeout_s: float, environment: Mapping[str, str] = MINIMAL_ENV
) -> SandboxResult:
    """Runs a supervisor with one order. Its stdin stays open until it has answered: closing it means 'stop'.

    Raises SandboxError when it could not carry the order out.
    """
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(supervisor)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
        cwd="/",
        start_new_session=True,
    )
    try:
        report = _exchange(process, order, timeout_s)
    finally:
        _end(process)
    if report.error:
        raise SandboxError(report.error)
    return report.result()


def _exchange(process: subprocess.Popen[bytes], order: bytes, timeout_s: float) -> Report:
    assert process.stdin and process.stdout and process.stderr
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(order)
        process.stdin.flush()
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    if not poll.poll(timeout_s * 1000):
        raise SandboxError(f"the sandbox's supervisor gave no report within {timeout_s:g} s and was stopped")
    try:
        return Report.from_json(process.stdout.readline())
    except (ValueError, TypeError):
        process.wait(END_S)
        words = process.stderr.read().decode(errors="replace").strip().splitlines()
        raise SandboxError(
            f"the sandbox's supervisor failed: {words[-1] if words else 'no report'}"
        ) from None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Closing stdin makes a supervisor that is still at work kill everything and end by itself."""
    assert process.stdin and process.stdout and process.stderr
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
    process.stderr.close()


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
