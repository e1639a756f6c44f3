"""Programs that Pawl needs from the system: found on PATH, installed by apt when root, else explained.

Standard library only: the bootstrap runs this before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_POSTGRESQL_FOLDERS = Path("/usr/lib/postgresql")


class SetupError(Exception):
    """The environment cannot be prepared; the message is one sentence that says what to do."""


@dataclass(frozen=True)
class Program:
    """One program: the names it goes by on PATH, its Debian package and what it is for."""

    name: str
    binaries: tuple[str, ...]
    package: str
    purpose: str


BUBBLEWRAP = Program(
    "bubblewrap", ("bwrap",), "bubblewrap", "the sandbox that every harness and evaluator runs in"
)
GIT = Program("git", ("git",), "git", "versions of harnesses")
REDIS = Program("redis", ("redis-server", "valkey-server"), "redis-server", "the private queue")
CHROMIUM = Program(
    "chromium",
    ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser"),
    "chromium",
    "the browser tests",
)
POSTGRESQL = Program("postgresql", ("initdb",), "postgresql", "the tests on PostgreSQL")

RUNTIME = (BUBBLEWRAP, GIT, REDIS)
ALL = (*RUNTIME, CHROMIUM, POSTGRESQL)


def find(program: Program) -> str | None:
    """The program's path, or None. A browser that is only a stub for a snap package does not count."""
    for name in program.binaries:
        path = shutil.which(name)
        if path and not _is_snap_stub(Path(path)):
            return path
    if program is POSTGRESQL:
        found = sorted(_POSTGRESQL_FOLDERS.glob("*/bin/initdb"), key=lambda p: int(p.parent.parent.name))
        return str(found[-1]) if found else None
    return None


def missing(programs: tuple[Program, ...]) -> list[Program]:
    """Those of the programs that are not installed.

    A REDIS_URL stands in for a Redis server, containers for bubblewrap.
    """
    stood_in_for = {
        REDIS: bool(os.environ.get("REDIS_URL", "").strip()),
        BUBBLEWRAP: os.environ.get("PAWL_SANDBOX", "").strip() == "container",
    }
    return [p for p in programs if find(p) is None and not stood_in_for.get(p)]


def ensure(programs: tuple[Program, ...]) -> None:
    """Install what is missing with apt when this is root on Debian or Ubuntu.

    Raises SetupError with the exact command otherwise, and when apt did not bring what was asked for.
    """
    absent = missing(programs)
    if not absent:
        return
    names = ", ".join(f"{p.name} ({p.purpose})" for p in absent)
    packages = [p.package for p in absent]
    command = f"apt-get update && apt-get install -y --no-install-recommends {' '.join(packages)}"
    if shutil.which("apt-get") is None:
        raise SetupError(
            f"Missing: {names}. Install with this system's package manager: {' '.join(packages)}."
        )
    if os.geteuid() != 0:
        raise SetupError(f"Missing: {names}. Install with: sudo sh -c '{command}'")
    say(f"Installing system packages with apt: {' '.join(packages)}")
    _apt(packages)
    still = missing(programs)
    if still:
        raise SetupError(_still_missing(still, command))


def say(line: str) -> None:
    """Tell the person at the terminal; stdout is kept for the command's own output."""
    print(line, file=sys.stderr, flush=True)


def _apt(packages: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    steps = (["update"], ["install", "-y", "--no-install-recommends", *packages])
    for step in steps:
        done = subprocess.run(
            ["apt-get", "-q", *step],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            check=False,
        )
        if done.returncode != 0 and step[0] == "install":
            raise SetupError(
                f"apt-get could not install {' '.join(packages)} (exit status {done.returncode}); see above."
            )


def _still_missing(programs: list[Program], command: str) -> str:
    names = ", ".join(p.name for p in programs)
    if CHROMIUM in programs:
        return (
            f"Still missing after apt: {names}. Ubuntu's chromium package is only a stub for a snap: "
            "install Google Chrome or a Chromium build so that `google-chrome` or `chromium` is on PATH."
        )
    return f"Still missing after apt: {names}. Try: {command}"


def _is_snap_stub(path: Path) -> bool:
    try:
        with path.open("rb") as handle:
            head = handle.read(4096)
    except OSError:
        return True
    return head.startswith(b"#!") and b"snap" in head and b"/snap/bin" in head
