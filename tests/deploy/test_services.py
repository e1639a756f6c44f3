"""The embedded services, with a real Redis and real workers: what dies comes back, and all end with their parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from deploy import home, services, system
from deploy.home import REPO
from governance.audit.signer_process import SocketSigner
from governance.errors import AuditError


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Look again and again until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"still not so after {seconds} s: {what}"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Service:
    """A process that supervises the embedded services (tests/deploy/supervise.py)."""

    def __init__(self, environment: dict[str, str], *workers: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.deploy.supervise", *workers],
            env=environment,
            cwd=REPO,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.first: dict[str, Any] = self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the supervisor ended with {self.process.wait()}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._read()

    def pid(self, name: str) -> int | None:
        found: int | None = self.ask("describe")["pids"].get(name)
        return found

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(30) == 0


@pytest.fixture
def environment(service_env: dict[str, str], tmp_path: Path) -> dict[str, str]:
    return {**service_env, "RECONCILED": str(tmp_path / "reconciled"), "PAWL_LOG_LEVEL": "WARNING"}


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Callable[..., Service]]:
    started: list[Service] = []

    def make(*workers: str) -> Service:
        started.append(Service(environment, *workers))
        return started[-1]

    yield make
    for service in started:
        service.process.kill()
        service.process.wait()
        for stream in (service.process.stdin, service.process.stdout):
            if stream is not None and not stream.closed:
                stream.close()


def test_a_job_runs_and_stopping_leaves_nothing_behind(start: Callable[..., Service], tmp_path: Path) -> None:
    service = start("loop", "verify")
    service.ask(f"enqueue loop write {tmp_path}/one done")
    service.ask(f"enqueue verify write {tmp_path}/two done")
    wait_until(lambda: (tmp_path / "one").exists() and (tmp_path / "two").exists(), "both jobs ran")
    pids = service.ask("describe")["pids"]
    assert set(pids) == {"redis", "signer", "worker-loop", "worker-verify"}
    service.close()
    assert [name for name, pid in pids.items() if alive(pid)] == []


def test_a_killed_queue_comes_back_and_jobs_run_again(start: Callable[..., Service], tmp_path: Path) -> None:
    service = start("loop")
    first = service.first["pids"]["redis"]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: service.pid("redis") not in (None, first), "Redis was started again")
    wait_until(queue_answers, "it answers")
    service.ask(f"enqueue loop write {tmp_path}/after done")
    wait_until((tmp_path / "after").exists, "a job of the new queue ran")


def queue_answers() -> bool:
    """Whether the private queue of this test's home answers."""
    try:
        return bool(redis.Redis(unix_socket_path=str(home.socket_folder() / "redis.sock")).ping())
    except redis.exceptions.ConnectionError:
        return False


def test_a_killed_signer_signs_nothing_until_it_is_started_again(start: Callable[..., Service]) -> None:
    service = start()
    path = home.socket_folder() / "signer.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    first = service.first["pids"]["signer"]
    os.kill(first, signal.SIGKILL)
    with pytest.raises(AuditError, match="does not answer"):
        SocketSigner(path).last()
    wait_until(lambda: service.pid("signer") not in (None, first), "the signer was started again")


def test_a_killed_worker_takes_its_job_with_it_and_both_are_replaced(
    start: Callable[..., Service], tmp_path: Path, environment: dict[str, str]
) -> None:
    service = start("loop")
    service.ask(f"enqueue loop block {tmp_path}/horse")
    wait_until(lambda: _text(tmp_path / "horse") != "", "the job started")
    horse, worker = int(_text(tmp_path / "horse")), service.pid("worker-loop")
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not alive(horse), "the job ended with its worker")
    wait_until(lambda: service.pid("worker-loop") not in (None, worker), "a new worker started")
    service.ask(f"enqueue loop write {tmp_path}/next done")
    wait_until((tmp_path / "next").exists, "the new worker takes jobs")
    before = _text(Path(environment["RECONCILED"])).count("\n")
    wait_until(lambda: _text(Path(environment["RECONCILED"])).count("\n") > before, "reconcile goes on")


def test_killing_the_parent_takes_everything_down_and_the_next_one_starts_clean(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    service = start("loop")
    service.ask(f"enqueue loop block {tmp_path}/horse")
    wait_until(lambda: _text(tmp_path / "horse") != "", "the job started")
    pids = [*service.first["pids"].values(), int(_text(tmp_path / "horse"))]
    service.process.kill()
    wait_until(lambda: not any(alive(pid) for pid in pids), "queue, worker and job ended with the parent")
    again = start("loop")
    assert again.first["queue"] == "here"
    again.ask(f"enqueue loop write {tmp_path}/later done")
    wait_until((tmp_path / "later").exists, "a job ran")


def test_a_second_service_on_the_same_home_shares_and_then_takes_over(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    owner = start("loop")
    other = start("loop")
    place = f"process {owner.process.pid}"
    assert (other.first["queue"], other.first["workers"], other.first["pids"]) == (place, place, {})
    other.ask(f"enqueue loop write {tmp_path}/shared done")
    wait_until((tmp_path / "shared").exists, "the first one's worker ran it")
    owner.close()
    wait_until(lambda: other.ask("describe")["workers"] == "here", "the second one took over")
    wait_until(lambda: other.pid("worker-loop") is not None, "its own worker runs")
    wait_until(queue_answers, "its own queue answers")
    other.ask(f"enqueue loop write {tmp_path}/taken done")
    wait_until((tmp_path / "taken").exists, "its own worker ran it")


def test_without_a_redis_server_one_sentence_says_what_to_do(
    pawl_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert system.find(system.REDIS) is None
    with pytest.raises(services.ServiceError, match="apt-get install redis-server"):
        services.redis_command(tmp_path / "redis.sock")


def test_the_private_queue_opens_no_port_and_writes_no_file(pawl_home: Path, tmp_path: Path) -> None:
    command = services.redis_command(tmp_path / "redis.sock")
    pairs = dict(zip(command[1::2], command[2::2], strict=True))
    assert pairs["--port"] == "0"
    assert (pairs["--save"], pairs["--appendonly"]) == ("", "no")
    assert pairs["--unixsocketperm"] == "700"


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
