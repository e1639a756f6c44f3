"""A hard memory limit and an exact processor account for one sandbox, where groups can be made (in practice: by root).

The watchdog in watch.py looks every 50 ms and can be overrun; the group cannot. It counts the sandbox's tmpfs
files too, so its limit is the memory limit plus all that may be written there. The process that becomes bubblewrap is
put into it, and the supervisor never is: which member the kernel kills for want of memory is in the program's hand.
An empty group is swept away when the next one is made.

Version 2 charges the buffers of TCP sockets to the same limit. Version 1 counts them apart, so they get a limit there.
Version 2 tells the processor time of every group. Version 1 has a tree of its own for that; the group there has the
same name.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loop.types import Limits

VERSION_1 = Path("/sys/fs/cgroup/memory")
VERSION_2 = Path("/sys/fs/cgroup")
PROCESSOR_1 = Path("/sys/fs/cgroup/cpuacct")
PREFIX = "pawl-"
MIB = 1 << 20
OWN_MIB = 16
TCP_MIB = 64


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """One group. `version` is 1 or 2: the files have other names."""

    path: Path
    version: int

    @classmethod
    def holding(cls, pid: int) -> MemoryGroup | None:
        """A new group, named after the calling process, with the process `pid` in it; None where groups cannot be made.

        Raises OSError. It is made ahead of the run (see launcher.py); the limit follows with it.
        """
        version = available()
        if version is None:
            return None
        base = VERSION_1 if version == 1 else VERSION_2
        group = cls(base / f"{PREFIX}{os.getpid()}", version)
        for place in group._places():
            _sweep(place.parent)
            place.mkdir(exist_ok=True)
            (place / "cgroup.procs").write_text(str(pid))
        return group

    def meter(self) -> Callable[[], float]:
        """Tells the processor seconds of all that ran in the group since this call, dead or alive; 0 where the kernel
        keeps no such account."""
        began = self._processor_s()
        return lambda: self._processor_s() - began

    def _processor_s(self) -> float:
        try:
            if self.version == 1:
                return int((PROCESSOR_1 / self.path.name / "cpuacct.usage").read_text()) / 1e9
            counts = dict(line.split() for line in (self.path / "cpu.stat").read_text().splitlines())
        except FileNotFoundError:
            return 0.0
        return int(counts["usage_usec"]) / 1e6

    def _places(self) -> list[Path]:
        apart = self.version == 1 and os.access(PROCESSOR_1, os.W_OK)
        return [self.path, PROCESSOR_1 / self.path.name] if apart else [self.path]

    def limit(self, limits: Limits) -> None:
        """What all processes in the group may use together: memory, memory file systems, what we had charged."""
        files = limits.scratch_mib + limits.shm_mib + limits.out_mib
        most = (limits.memory_mib + files + OWN_MIB) * MIB
        names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        for name in names if self.version == 1 else ("memory.max",):
            if (self.path / name).exists():
                (self.path / name).write_text(str(most))
        if (self.path / "memory.kmem.tcp.limit_in_bytes").exists():
            (self.path / "memory.kmem.tcp.limit_in_bytes").write_text(str(TCP_MIB * MIB))
        if (self.path / "memory.swap.max").exists():
            (self.path / "memory.swap.max").write_text("0")

    def killed(self) -> bool:
        """Whether the kernel killed anything in the group for want of memory."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        counts = dict(line.split() for line in (self.path / name).read_text().splitlines())
        return int(counts.get("oom_kill", 0)) > 0


def available() -> int | None:
    """1 or 2: which kind of memory group can be made here; None for none."""
    if os.geteuid() != 0:
        return None
    if (VERSION_1 / "memory.limit_in_bytes").exists():
        return 1 if os.access(VERSION_1, os.W_OK) else None
    with contextlib.suppress(OSError):
        if "memory" in (VERSION_2 / "cgroup.subtree_control").read_text().split():
            return 2 if os.access(VERSION_2, os.W_OK) else None
    return None


def _sweep(base: Path) -> None:
    """Removes the groups of supervisors that were killed, with what may still be in them."""
    for path in base.glob(f"{PREFIX}*"):
        if not Path("/proc", path.name.removeprefix(PREFIX)).exists():
            with contextlib.suppress(OSError):
                for pid in (path / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
                path.rmdir()
