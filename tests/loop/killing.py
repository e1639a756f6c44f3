"""For tests that kill the processes of a real service: starting it, finding its processes, watching its campaign."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from deploy.home import REPO

DEADLINE_S = 600.0
LOOK_S = 0.02  # between two looks: the processes that are watched need the processor too
Env = dict[str, str]


def service(env: Env, *args: str) -> str:
    """What tests/loop/real_service.py prints."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.loop.real_service", *args],
        env=env, cwd=REPO, capture_output=True, text=True, timeout=DEADLINE_S, check=True,
    )  # fmt: skip
    return done.stdout.strip()


@contextmanager
def serving(env: Env) -> Iterator[subprocess.Popen[str]]:
    """`manage.py serve` with queue and workers, ready to be killed."""
    process = subprocess.Popen(
        [sys.executable, str(REPO / "manage.py"), "serve", "--port", "0", "--json"],
        env=env, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert "url" in json.loads(process.stdout.readline())
        yield process
    finally:
        process.kill()
        process.wait()


def queue_of(process: subprocess.Popen[str]) -> list[int]:
    """The private Redis that a `serve` process started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            name, _, fields = (entry / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if name == "redis-server" and int(fields.split()[1]) == process.pid:
            found.append(int(entry.name))
    return found


def processes(home: Path, words: tuple[str, ...]) -> list[int]:
    """The live processes whose command line holds all these words and that belong to one data home.

    A trainer is told the files of its job and nothing else, so its command line names the home.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        belongs = f"PAWL_HOME={home}\0".encode() in environment or f"{home}/" in command
        if belongs and all(word in command for word in words):
            found.append(int(entry.name))
    return found


def rows(home: Path, query: str) -> list[tuple[Any, ...]]:
    """A read-only look into the service's database."""
    with closing(sqlite3.connect(f"file:{home}/db.sqlite3?mode=ro", uri=True, timeout=20)) as database:
        return database.execute(query).fetchall()


def kill(pids: list[int]) -> None:
    """SIGKILL each of them; there must be one."""
    assert pids, "no process to kill"
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def follow(home: Path, on_state: Callable[[str], None]) -> None:
    """Watch the campaign until it ends, handing each look at (step, verification status) to `on_state`."""
    started = time.monotonic()
    while time.monotonic() - started < DEADLINE_S:
        status = rows(home, "SELECT status FROM loop_campaign")[0][0]
        if status != "running":
            return
        step = rows(home, "SELECT step FROM loop_generation ORDER BY number DESC LIMIT 1")[0][0]
        verification = rows(home, "SELECT status FROM loop_verification")
        on_state("verify" if verification and verification[0][0] == "running" else step)
        time.sleep(LOOK_S)
    raise AssertionError(f"The campaign did not end within {DEADLINE_S:.0f} s.")


def wait_until_gone(home: Path, queue: list[int]) -> None:
    """Workers and queue must not outlive the web process that ran them."""
    deadline = time.monotonic() + 20
    while left := [
        *processes(home, ("manage.py", "worker")),
        *(pid for pid in queue if Path(f"/proc/{pid}").exists()),
    ]:
        assert time.monotonic() < deadline, f"{left} outlived the web process"
