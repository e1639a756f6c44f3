"""Keeps one warm process beside the service process that forks a supervisor for each run.

Starting Python and importing the supervisor costs more than the sandbox itself; a fork costs a millisecond or two.
What is kept warm is our own code alone: every run still has a supervisor process, namespaces and memory of its own.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PID = struct.Struct("q")
ENVIRONMENT: Mapping[str, str] = {"LANG": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class Supervisor:
    """One supervisor at work: its pid, and our ends of its stdin (its lifeline), stdout and stderr."""

    pid: int
    stdin: int
    stdout: int
    stderr: int


class Spawner:
    """Starts supervisors of one program, for this process. Safe to use from several threads."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._lock = threading.Lock()
        self._owner = 0
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Supervisor:
        """A new supervisor, waiting for its order. Raises OSError where none can be started."""
        pipes = [os.pipe() for _ in range(3)]
        theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
        ours = [pipes[0][1], pipes[1][0], pipes[2][0]]
        try:
            pid = self._ask(theirs)
        except BaseException:
            for end in ours:
                os.close(end)
            raise
        finally:
            for end in theirs:
                os.close(end)
        return Supervisor(pid, *ours)

    def _ask(self, descriptors: list[int]) -> int:
        """The pid of a supervisor with these as its stdin, stdout and stderr; a dead spawner is replaced once."""
        with self._lock:
            for last in (False, True):
                channel = self._open()
                try:
                    socket.send_fds(channel, [b"r"], descriptors)
                    answer = channel.recv(PID.size)
                except OSError:
                    answer = b""
                if len(answer) == PID.size:
                    return int(PID.unpack(answer)[0])
                self._close()
                if last:
                    break
        raise OSError(f"{self._program.name} could not be started")

    def _open(self) -> socket.socket:
        """The channel to this process's own spawner: a forked process starts another."""
        if self._channel is None or self._owner != os.getpid():
            self._close()
            ours, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(self._program), "--serve"],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    env=dict(ENVIRONMENT),
                    cwd="/",
                    start_new_session=True,
                )
            self._channel, self._owner = ours, os.getpid()
        return self._channel

    def _close(self) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._process is not None and self._owner == os.getpid():
            self._process.wait()
        self._channel = self._process = None
