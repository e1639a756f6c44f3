"""A hard memory limit for one sandbox, where this process may make control groups (in practice: root).

The watchdog in watch.py looks every 50 ms and can be overrun; the group cannot. It counts the sandbox's tmpfs
files too, so its limit is the memory limit plus all that may be written there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from loop.types import Limits

VERSION_1 = Path("/sys/fs/cgroup/memory")
VERSION_2 = Path("/sys/fs/cgroup")
PREFIX = "pawl-"
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """One group. `version` is 1 or 2: the files have other names."""

    path: Path
    version: int

    @classmethod
    def create(cls, limits: Limits) -> MemoryGroup | None:
        """A new group for this process's sandbox; None where groups cannot be made. Raises OSError."""
        version = available()
        if version is None:
            return None
        base = VERSION_1 if version == 1 else VERSION_2
        _sweep(base)
        group = cls(base / f"{PREFIX}{os.getpid()}", version)
        group.path.mkdir(exist_ok=True)
        most = (limits.memory_mib + limits.scratch_mib + limits.shm_mib + limits.out_mib) * MIB
        names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        for name in names if version == 1 else ("memory.max",):
            if (group.path / name).exists():
                (group.path / name).write_text(str(most))
        if (group.path / "memory.swap.max").exists():
            (group.path / "memory.swap.max").write_text("0")
        return group

    def enter(self) -> None:
        """Moves the calling process into the group; its children are born there."""
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def killed(self) -> bool:
        """Whether the kernel killed anything in the group for want of memory."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        counts = dict(line.split() for line in (self.path / name).read_text().splitlines())
        return int(counts.get("oom_kill", 0)) > 0

    def remove(self) -> None:
        """Removes the group once it is empty; the kernel may need a moment for that."""
        for _ in range(50):
            try:
                self.path.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.01)
        # A group that stays busy is swept by a later run.


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
