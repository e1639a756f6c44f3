"""What a running sandbox uses, read from /proc: processes, memory, processor time, scratch files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
SCRATCH_INODES = 8192


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a process tree: threads of all processes, resident MiB (shared pages counted for each
    process that has them), processor seconds including reaped children."""

    tasks: int
    memory_mib: float
    cpu_s: float


def tree(root: int) -> list[int]:
    """The pids of `root` and all its descendants that are alive now."""
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting.extend(children(pid))
    return found


def children(pid: int) -> Iterator[int]:
    """The pids of the processes that any thread of `pid` has started or adopted, and not yet reaped."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return
    for thread in threads:
        try:
            yield from map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
        except OSError:
            continue


def sample(root: int) -> Sample:
    """Sums over the tree under `root` (a namespace's first process, which is not counted as a task)."""
    tasks, pages, ticks = -1, 0, 0
    for pid in tree(root):
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
        tasks += int(fields[17])
        pages += int(fields[21])
    return Sample(max(tasks, 0), pages * PAGE_MIB, ticks * TICK_S)


def exact_memory_mib(root: int) -> float | None:
    """Proportional resident MiB of the tree: a page shared by n processes counts once. None if unreadable."""
    total = 0
    for pid in tree(root):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except PermissionError:
            return None
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def scratch_inodes(root: int) -> int:
    """Files and folders in the sandbox's /scratch and /dev/shm together; 0 once the sandbox is gone."""
    used = 0
    for folder in ("scratch", "dev/shm"):
        try:
            status = os.statvfs(f"/proc/{root}/root/{folder}")
        except OSError:
            continue
        used += status.f_files - status.f_ffree
    return used
