"""`kill -9` of workers, queue and web process in the middle of a campaign loses nothing."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from deploy.home import REPO

DEADLINE_S = 180.0
STEPS = ("prepare", "roll_out", "decide", "edit", "compare")
Env = dict[str, str]


def service(env: Env, *args: str) -> str:
    """What tests/loop/coins_service.py prints."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.loop.coins_service", *args],
        env=env, cwd=REPO, capture_output=True, text=True, timeout=120, check=True,
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
    """The live processes of one data home whose command line holds all these words."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if all(word in command for word in words) and f"PAWL_HOME={home}\0".encode() in environment:
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


def follow(home: Path, on_state: Any) -> None:
    """Watch the campaign until it ends, handing each look at (step, verification status) to `on_state`."""
    started = time.monotonic()
    while time.monotonic() - started < DEADLINE_S:
        status = rows(home, "SELECT status FROM loop_campaign")[0][0]
        if status != "running":
            return
        step = rows(home, "SELECT step FROM loop_generation ORDER BY number DESC LIMIT 1")[0][0]
        verification = rows(home, "SELECT status FROM loop_verification")
        on_state("verify" if verification and verification[0][0] == "running" else step)
    raise AssertionError(f"The campaign did not end within {DEADLINE_S:.0f} s.")


class Struck(Exception):
    """The web process is to be killed now."""


def test_workers_queue_and_web_process_killed_at_every_step_change_nothing(
    service_env: Env, tmp_path: Path
) -> None:
    calm = {**service_env, "PAWL_HOME": str(tmp_path / "calm")}
    home = Path(service_env["PAWL_HOME"])
    calm_ref, ref = service(calm, "start", "5"), service(service_env, "start", "5")
    killed: list[str] = []

    def strike(step: str) -> None:
        if step in killed or step not in (*STEPS, "verify"):
            return
        killed.append(step)
        if step == "decide":
            raise Struck
        kill(processes(home, ("manage.py", "worker", "verify" if step == "verify" else "loop")))
        if step == "compare":
            kill(queue_of(process))

    with serving(calm):
        with serving(service_env) as process:
            queue = queue_of(process)
            with suppress(Struck):
                follow(home, strike)
        assert "decide" in killed
        wait_until_gone(home, queue)
        with serving(service_env) as process:
            follow(home, strike)
        follow(tmp_path / "calm", lambda step: None)
    assert set(killed) >= {"roll_out", "decide", "compare", "verify"}
    undisturbed = json.loads(service(calm, "archive", calm_ref))
    assert (undisturbed["status"], undisturbed["proposals"]) == ("finished", ["ready"])
    assert json.loads(service(service_env, "archive", ref)) == undisturbed


def wait_until_gone(home: Path, queue: list[int]) -> None:
    """Workers and queue must not outlive the web process that ran them."""
    deadline = time.monotonic() + 20
    while left := [
        *processes(home, ("manage.py", "worker")),
        *(pid for pid in queue if Path(f"/proc/{pid}").exists()),
    ]:
        assert time.monotonic() < deadline, f"{left} outlived the web process"
