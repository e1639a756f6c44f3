"""The embedded services of one data home: a private Redis on a unix socket, the log's signer, one worker a queue.

A Supervisor starts them, restarts what dies and takes all down with its process, even when that is killed.
Two processes on one data home share the services: a file lock says who runs them, and whoever waits takes
over when the other ends. Redis holds nothing that the database does not know: after losing it, `reconcile`
fills the queues again.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import django_rq
import redis
import structlog
from django.conf import settings
from django.db import connections
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.registry import StartedJobRegistry

from deploy import child, home, system

QUEUES = ("loop", "verify", "train")
_TICK_S = 0.25
_READY_S = 30.0
_STEADY_S = 30.0  # a service that ran this long starts afresh with the shortest delay
_LONGEST_DELAY_S = 15.0
_log = structlog.get_logger(__name__)


class ServiceError(Exception):
    """An embedded service cannot run; the message says why and what to do."""


@dataclass(frozen=True)
class Plan:
    """What a supervisor runs: the queues to work on, and what to call every `interval_s` seconds."""

    workers: tuple[str, ...] = QUEUES
    reconcile: Callable[[], object] | None = None
    interval_s: float = 3.0
    grace_s: float = 5.0


@dataclass
class _Service:
    """One child process: how to start it, and its history of failures."""

    name: str
    argv: list[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    not_before: float = 0.0

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start in a session of its own (a Ctrl-C in the terminal is the parent's to handle)."""
        environment = {
            **os.environ,
            "PAWL_HOME": str(home.home()),
            "PAWL_BOOTSTRAP": "0",
            "PYTHONPATH": str(home.REPO),
        }
        with (home.folder("logs") / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                child.command(self.argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        self.started = time.monotonic()

    def note_death(self) -> None:
        """Count the failure and choose when to start again: 0.25 s, then doubling."""
        now = time.monotonic()
        self.failures = 1 if now - self.started > _STEADY_S else self.failures + 1
        self.not_before = now + min(_LONGEST_DELAY_S, 0.25 * 2 ** (self.failures - 1))
        status = self.process.returncode if self.process else None
        _log.warning(
            "service ended, starting it again", service=self.name, status=status, failures=self.failures
        )
        self.process = None

    def stop(self, grace_s: float) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None


@dataclass
class _Role:
    """The right to run some services of this data home: a file lock that the kernel frees on death."""

    name: str
    descriptor: int | None = field(default=None)

    def try_own(self) -> bool:
        """Whether this process holds the role (taking it when it is free)."""
        if self.descriptor is not None:
            return True
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps({"pid": os.getpid()}).encode())
        self.descriptor = descriptor
        return True

    def release(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    @property
    def path(self) -> Path:
        return home.folder("run") / f"{self.name}.lock"

    def holder(self) -> int | None:
        """The process id that the holder wrote, or None."""
        try:
            return int(json.loads(self.path.read_text())["pid"])
        except (FileNotFoundError, ValueError, KeyError):
            return None


class Supervisor:
    """Runs the embedded services while it is entered; see the module's text."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._queue_role = _Role("queue")
        self._worker_role = _Role("workers")
        self._signer_role = _Role("signer")
        self._signer = None if settings.SIGNER_EXTERNAL else _Service("signer", signer_command())
        self._redis: _Service | None = None
        self._workers = {name: _Service(f"worker-{name}", worker_command(name)) for name in plan.workers}
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._next_reconcile = 0.0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the services and return when the queue answers. Raises ServiceError when it does not."""
        if not settings.REDIS_URL:
            self._redis = _Service("redis", redis_command(settings.REDIS_SOCKET))
        self._thread.start()
        if not self._ready.wait(_READY_S):
            self.stop()
            raise ServiceError(_not_ready())

    def stop(self) -> None:
        """Stop what this process started: SIGTERM, `grace_s` seconds, SIGKILL. A cut job is done again."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def describe(self) -> dict[str, Any]:
        """Who runs what.

        {"queue": "here" | "process N" | "external", "workers": ..., "pids": {name: pid}}
        """
        services = [*filter(None, (self._redis, self._signer)), *self._workers.values()]
        return {
            "queue": "external" if settings.REDIS_URL else _place(self._queue_role),
            "workers": _place(self._worker_role) if self._workers else "none",
            "pids": {s.name: s.process.pid for s in services if s.process is not None and s.is_running()},
        }

    def _run(self) -> None:
        try:
            while not self._stopping.wait(_TICK_S if self._ready.is_set() else 0.05):
                self._tick()
        finally:
            self._stop_all()

    def _tick(self) -> None:
        if self._signer is not None and self._signer_role.try_own():
            self._keep_alive(self._signer)
        if self._redis is not None and self._queue_role.try_own():
            self._keep_alive(self._redis)
        if not queue_answers() or (not self._ready.is_set() and not signer_answers()):
            return
        if self._workers and self._worker_role.try_own():
            for name, service in self._workers.items():
                if self._keep_alive(service) and not settings.REDIS_URL:
                    forget_started(name)
            self._reconcile()
        self._ready.set()

    def _keep_alive(self, service: _Service) -> bool:
        """Start the service when it is down and due; return whether it was found dead."""
        died = service.process is not None and not service.is_running()
        if died:
            service.note_death()
            self._next_reconcile = 0.0
        if service.process is None and time.monotonic() >= service.not_before:
            service.start()
        return died

    def _reconcile(self) -> None:
        if self._plan.reconcile is None or time.monotonic() < self._next_reconcile:
            return
        self._next_reconcile = time.monotonic() + self._plan.interval_s
        try:
            self._plan.reconcile()
        except Exception:  # boundary of the service: recorded, and tried again at the next interval
            _log.exception("reconcile failed; trying again", interval_s=self._plan.interval_s)
        finally:
            connections.close_all()

    def _stop_all(self) -> None:
        workers = list(self._workers.values())
        for service in workers:
            if service.is_running() and service.process is not None:
                service.process.terminate()
        deadline = time.monotonic() + self._plan.grace_s
        for service in workers:
            service.stop(max(0.1, deadline - time.monotonic()))
        self._worker_role.release()
        if self._signer is not None:
            self._signer.stop(self._plan.grace_s)
        self._signer_role.release()
        if self._redis is not None:
            self._redis.stop(self._plan.grace_s)
        self._queue_role.release()


def redis_command(socket: Path) -> list[str]:
    """The command line of a private Redis: no port, no files.

    Raises ServiceError when no server is installed.
    """
    program = system.find(system.REDIS)
    if program is None:
        raise ServiceError(
            "No Redis server is installed; run `apt-get install redis-server`, or set REDIS_URL."
        )
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no",
        "daemonize": "no",
        "dir": str(home.folder("run")),
        "loglevel": "warning",
    }
    return [program, *(part for key, value in options.items() for part in (f"--{key}", value))]


def worker_command(queue: str) -> list[str]:
    """The command line of one worker on one queue."""
    return [sys.executable, str(home.REPO / "manage.py"), "worker", queue]


def signer_command() -> list[str]:
    """The command line of the log's signer in this data home."""
    folder, path = home.folder("keys"), settings.SIGNER_SOCKET
    return [
        sys.executable,
        "-m",
        "governance.audit.signer_process",
        *("--folder", str(folder), "--socket", str(path)),
    ]


def signer_answers() -> bool:
    """Whether something listens where the log's signer should (what it says is for those who sign)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        return link.connect_ex(str(settings.SIGNER_SOCKET)) == 0


def queue_answers() -> bool:
    """Whether the Redis of settings.RQ_QUEUES answers now."""
    once: dict[str, Any] = {"socket_timeout": 2.0, "retry": Retry(NoBackoff(), 0)}
    try:
        if settings.REDIS_URL:
            client = redis.Redis.from_url(settings.REDIS_URL, **once)
        else:
            client = redis.Redis(unix_socket_path=str(settings.REDIS_SOCKET), **once)
        with client:
            return bool(client.ping())
    except (
        redis.exceptions.ConnectionError,
        redis.exceptions.TimeoutError,
        redis.exceptions.BusyLoadingError,
    ):
        return False


def forget_started(name: str) -> list[str]:
    """Drop the jobs that a queue's only worker had taken when it died, and return their ids.

    `reconcile` queues again what the database says is still due.
    """
    queue = django_rq.get_queue(name)
    registry = StartedJobRegistry(name, connection=queue.connection, serializer=queue.serializer)
    lost = sorted({job_id for job_id, _execution in registry.get_job_and_execution_ids(cleanup=False)})
    lost += [job_id for job_id in queue.intermediate_queue.get_job_ids() if job_id not in lost]
    for job_id in lost:
        try:
            Job.fetch(job_id, connection=queue.connection, serializer=queue.serializer).delete()
        except NoSuchJobError:
            continue
    queue.connection.delete(registry.key, queue.intermediate_queue.key)
    return lost


def _place(role: _Role) -> str:
    if role.descriptor is not None:
        return "here"
    return f"process {role.holder()}"


def _not_ready() -> str:
    if not signer_answers():
        log = home.folder("logs") / "signer.log"
        return f"The log's signer does not answer at {settings.SIGNER_SOCKET}; its last lines are in {log}."
    if settings.REDIS_URL:
        return "The queue at REDIS_URL does not answer; check the address, or unset it to use a private one."
    return f"The private queue did not start; its last lines are in {home.folder('logs') / 'redis.log'}."
