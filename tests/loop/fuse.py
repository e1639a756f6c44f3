"""Ends this very process by SIGKILL at a chosen point of its work. For child processes of tests only.

Points are what the main thread passes on its way, always in the same order: just before each commit and each write
of its own, before each program that changes the git repository, before each rename, before each sandbox starts and
while a sandboxed program runs. Between two points nothing that lasts is changed, so being killed right before a
point is the same as being killed right after the one before it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

WRITES = frozenset({"INSERT", "UPDATE", "DELETE"})
GIT_WRITES = frozenset({"hash-object", "update-ref"})


def die() -> None:
    """As `kill -9` does it: nothing of this process runs any more."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_the_sandbox() -> None:
    """Die once a program runs below bubblewrap, which runs below a supervisor, which runs below the spawner."""

    def wait() -> None:
        while _depth(os.getpid()) < 4:
            time.sleep(0.001)
        die()

    threading.Thread(target=wait, daemon=True).start()


class Fuse:
    """Passes points and dies at number `fatal` (from 1; 0: never). `tell` hears of each point before that."""

    def __init__(self, fatal: int, tell: Callable[[str], object]) -> None:
        self.fatal = fatal
        self.tell = tell
        self.passed = 0

    def light(self) -> None:
        """Watch this process from now on. Open no database connection before."""
        connection_created.connect(self._connected, weak=False)
        sys.addaudithook(self._audit)

    def point(self, what: str, end: Callable[[], None] = die) -> None:
        """Pass one point; threads that renew leases come and go as the clock wants and do not count."""
        if threading.current_thread() is not threading.main_thread():
            return
        self.passed += 1
        self.tell(what)
        if self.passed == self.fatal:
            end()

    def _connected(self, connection: BaseDatabaseWrapper, **_: Any) -> None:
        database = connection.connection
        last = ""

        def trace(statement: str) -> None:
            nonlocal last
            words = statement.split()
            if words[0] in WRITES:
                last = " ".join(word.strip('"') for word in words[:5] if word not in {"INTO", "SET", "FROM"})
                if not database.in_transaction:
                    self.point(f"write: {last}")
            elif words[0] == "COMMIT":
                self.point(f"commit: {last}")

        database.set_trace_callback(trace)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename":
            self.point(f"rename: {Path(os.fsdecode(arguments[1])).name}")
        elif event == "subprocess.Popen":
            words = [os.fsdecode(word) for word in arguments[1]]
            if words[0] == "git" and words[1] in GIT_WRITES:
                self.point(f"git: {words[1]}")
        elif event == "socket.sendmsg":  # the spawner is handed the pipes of a new supervisor
            self.point("sandbox: starts")
            self.point("sandbox: runs", die_in_the_sandbox)


def _depth(pid: int) -> int:
    """How many generations of processes live below this one."""
    children: list[str] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children += thread.read_text().split()
        except OSError:
            continue
    return max((1 + _depth(int(child)) for child in children), default=0)
