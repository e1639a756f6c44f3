"""What a running sandbox uses, read from /proc: processes, memory, processor time, scratch files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
SCRATCH_INODES = 8192


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at some processes: threads of all, resident MiB (shared pages counted for each process that
    has them), processor seconds including reaped children."""

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


def others() -> list[int]:
    """The pids of all processes but this one: for the first process of a pid namespace."""
    found = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return [pid for pid in found if pid != os.getpid()]


def sample(pids: Iterable[int]) -> Sample:
    """Sums over those of the processes that are alive."""
    tasks, pages, ticks = 0, 0, 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
        tasks += int(fields[17])
        pages += int(fields[21]) or _pages_of_threads(pid)
    return Sample(tasks, pages * PAGE_MIB, ticks * TICK_S)


def _pages_of_threads(pid: int) -> int:
    """Resident pages of a process whose first thread has ended: only the other threads tell them then."""
    most = 0
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            most = max(most, int(stat.read_bytes().rpartition(b")")[2].split()[21]))
        except OSError:
            continue
    return most


def _maps(pid: int) -> Path:
    """Where the kernel tells this process's memory: with its first thread ended, at another thread."""
    state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    alive = [task for task in os.listdir(f"/proc/{pid}/task") if int(task) != pid]
    if state == b"Z" and alive:
        return Path(f"/proc/{pid}/task/{alive[0]}/smaps")
    return Path(f"/proc/{pid}/smaps_rollup")


def exact_memory_mib(pids: Iterable[int]) -> float | None:
    """Proportional resident MiB of the processes: a page shared by n counts once. None if unreadable."""
    total = 0
    for pid in pids:
        try:
            lines = _maps(pid).read_text().splitlines()
        except PermissionError:
            return None
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def scratch_inodes(root: str) -> int:
    """Files and folders in /scratch and /dev/shm together below `root` ("" or "/proc/PID/root"); 0 once it is gone."""
    used = 0
    for folder in ("scratch", "dev/shm"):
        try:
            status = os.statvfs(f"{root}/{folder}")
        except OSError:
            continue
        used += status.f_files - status.f_ffree
    return used
