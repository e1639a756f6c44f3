"""The process that becomes bubblewrap: forked, and moved into the run's memory group, before there is a run.

Moving a process between control groups takes the kernel some 10 ms, for which it holds up every fork on the machine.
Root makes the run's network namespace ahead too; an ordinary user may only in the user namespace of the run itself.
Nothing of an earlier run is in this process: it is forked from one that never runs anything, becomes one sandbox, and
ends with it. Unused, it ends with its supervisor.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loop.sandbox.command import MIB
from loop.sandbox.namespaces import CLONE_NEWNS, CLONE_NEWUSER, enter_network_namespace, setns
from loop.sandbox.watch import CORE_BYTES, PENDING_SIGNALS
from loop.types import Limits

HIGH_FD = 64
BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Launcher:
    """A waiting child of this process: its pid, and the socket on which it takes what it shall become."""

    pid: int
    channel: socket.socket

    @classmethod
    def fork(cls, not_its: tuple[int, ...]) -> Launcher:
        """A new one; `not_its` are descriptors of ours that it shall not have."""
        return cls(*fork_waiting(os.fork, not_its, _become_bwrap))

    def launch(
        self, limits: Limits, command: list[str], uid: int | None, descriptors: Mapping[int, int]
    ) -> None:
        """Has it enter the namespaces that this process is in now, take its limits and the uid, and execute `command`
        with `descriptors` ({its number: our number}). Raises OSError where it is gone."""
        kinds = [CLONE_NEWNS] if uid is not None else [CLONE_NEWUSER, CLONE_NEWNS]
        own = [os.open(f"/proc/self/ns/{NAMES[kind]}", os.O_RDONLY | os.O_CLOEXEC) for kind in kinds]
        said = {"kinds": kinds, "limits": asdict(limits), "command": command, "uid": uid,
                "targets": list(descriptors)}  # fmt: skip
        try:
            socket.send_fds(self.channel, [b"r"], [*own, *descriptors.values()])
            self.channel.sendall(json.dumps(said).encode())
        finally:
            for descriptor in own:
                os.close(descriptor)
            self.channel.close()


def fork_waiting(
    fork: Callable[[], int], not_its: tuple[int, ...], become: Callable[[socket.socket], None]
) -> tuple[int, socket.socket]:
    """A child that takes what it shall become from a socket: its pid, and our end. `become` must not return."""
    ours, theirs = socket.socketpair()
    pid = fork()
    if pid == 0:
        ours.close()
        for descriptor in not_its:
            os.close(descriptor)
        become(theirs)
    theirs.close()
    return pid, ours


NAMES = {CLONE_NEWNS: "mnt", CLONE_NEWUSER: "user"}


def _become_bwrap(channel: socket.socket) -> None:
    """In the forked child: waits, then namespaces, descriptors, limits, uid, exec. Never returns."""
    try:
        if os.geteuid() == 0:
            enter_network_namespace()
        request, received, _, _ = socket.recv_fds(channel, 1, 16)
        if not request:
            os._exit(0)  # nobody wanted this one
        # High, so that none is in the place of another's target.
        handles = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, HIGH_FD) for each in received]
        said = json.loads(b"".join(iter(lambda: channel.recv(BLOCK), b"")))
        _close_all_but(handles)
        for kind in said["kinds"]:
            setns(handles.pop(0), kind)
        if said["uid"] is None:
            enter_network_namespace()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for target, source in zip(said["targets"], handles, strict=True):
            os.dup2(source, target)
        _exec(Limits(**said["limits"]), said["command"], said["uid"])
    except (OSError, ValueError) as error:
        os.write(2, f"bubblewrap could not be started: {error}".encode())
    finally:
        os._exit(126)


def _close_all_but(kept: list[int]) -> None:
    """Whatever else this process was born with, known or not: a descriptor of ours must not reach the program."""
    after = 3
    for descriptor in sorted(kept):
        os.closerange(after, descriptor)
        after = descriptor + 1
    os.closerange(after, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def _exec(limits: Limits, command: list[str], uid: Any) -> None:
    for kind, value in (
        (resource.RLIMIT_AS, limits.address_space_mib * MIB),
        (resource.RLIMIT_FSIZE, limits.file_mib * MIB),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, CORE_BYTES),
        (resource.RLIMIT_SIGPENDING, PENDING_SIGNALS),
    ):
        resource.setrlimit(kind, (value, value))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1))
    # For want of memory the kernel kills the program first, unless the program takes this back.
    Path("/proc/self/oom_score_adj").write_text("1000")
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    os.execve(command[0], command, {})
