"""A running sandbox's processes and what they use, read from /proc: memory, processor time, scratch files."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
SCRATCH_INODES = 8192
# The model's relay at its fullest has 320, both ends of the program's own connections to it included.
SOCKETS = 512
# The kernel's table of pseudo-terminals is everybody's, and what it keeps for each (70 KiB) is in nobody's account.
TERMINALS = 64
CORE_BYTES = 1  # none is written, and no program of the host's is started for one either, as it would be at 0
PENDING_SIGNALS = 1024  # timers too; the kernel counts them for all processes of a user together
MAPPING_MIB = 384 / (1 << 20)
COUNTING_S = 0.02
EXACT_S = 1.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at some processes: threads of all; MiB resident, swapped out and in page tables (shared pages counted
    for each process that has them); processor seconds including reaped children; `own_s` maps (pid, start) to a
    process's own seconds."""

    tasks: int
    memory_mib: float
    cpu_s: float
    own_s: Mapping[tuple[int, int], float] = field(default_factory=dict)


@dataclass
class ProcessorAccount:
    """Processor seconds of all processes that were ever seen. A parent that ignores SIGCHLD has its children buried
    without their time being added to anybody's: what was seen of them stays on this account. What lives and dies
    between two looks is not on it."""

    alive: Mapping[tuple[int, int], float] = field(default_factory=dict)
    gone_s: float = 0.0

    def note(self, own_s: Mapping[tuple[int, int], float]) -> float:
        """Takes in one sample's `own_s`; the seconds so far."""
        self.gone_s += sum(seconds for key, seconds in self.alive.items() if key not in own_s)
        self.alive = own_s
        return self.gone_s + sum(own_s.values())


class MappingsAccount:
    """What the kernel keeps to know the mappings of processes. Counting is slow, so each look does a part of it."""

    def __init__(self) -> None:
        self.pids: list[int] = []
        self._found: dict[int, float] = {}
        self._counting = self._count()

    def note(self, pids: list[int]) -> float:
        """Goes on counting for these processes that are alive; MiB so far."""
        self.pids = pids
        until = time.monotonic() + COUNTING_S
        while time.monotonic() < until and next(self._counting):
            continue
        self._found = {pid: self._found[pid] for pid in pids if pid in self._found}
        return sum(self._found.values())

    def _count(self) -> Iterator[bool]:
        """Yields after each block of each process's list; False after the last process of a round."""
        while True:
            for pid in self.pids:
                count = 0
                with contextlib.suppress(OSError), open(f"/proc/{pid}/maps", "rb", buffering=0) as maps:
                    while block := maps.read(1 << 16):
                        count += block.count(b"\n")
                        yield True
                self._found[pid] = count * MAPPING_MIB
            yield False


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


def wake_on_children() -> int:
    """A descriptor that becomes readable when a child of this process ends."""
    read_end, write_end = os.pipe()
    for end in (read_end, write_end):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    return read_end


def others() -> list[int]:
    """The pids of all processes but this one: for the first process of a pid namespace."""
    found = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return [pid for pid in found if pid != os.getpid()]


def sample(pids: Iterable[int]) -> Sample:
    """Sums over those of the processes that are alive."""
    tasks, pages, ticks, kib = 0, 0, 0, 0
    own_s: dict[tuple[int, int], float] = {}
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
        own_s[pid, int(fields[19])] = sum(map(int, fields[11:13])) * TICK_S
        tasks += int(fields[17])
        pages += int(fields[21]) or _pages_of_threads(pid)
        kib += _beside_resident_kib(pid)
    return Sample(tasks, pages * PAGE_MIB + kib / 1024, ticks * TICK_S, own_s)


def _beside_resident_kib(pid: int) -> int:
    """Page tables and swapped-out memory of a process; its first thread may have ended, the others show them."""
    return _status_kib(Path("/proc", str(pid))) or max(map(_status_kib, _threads(pid)), default=0)


def _status_kib(place: Path) -> int:
    try:
        lines = (place / "status").read_bytes().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith((b"VmPTE:", b"VmSwap:")))


def _pages_of_threads(pid: int) -> int:
    """Resident pages of a process whose own line has none: its first thread may have ended, the others show them."""
    most = 0
    for place in _threads(pid):
        with contextlib.suppress(OSError):
            most = max(most, int((place / "stat").read_bytes().rpartition(b")")[2].split()[21]))
    return most


def exact_memory_mib(pids: Iterable[int]) -> float | None:
    """As a sample's memory, but a page shared by n processes counts once. None if unreadable, or not read
    within a second: a program can make that slow."""
    total, until = 0, time.monotonic() + EXACT_S
    for pid in pids:
        if time.monotonic() > until:
            return None
        try:
            total += _proportional_kib(Path("/proc", str(pid))) or max(
                map(_proportional_kib, _threads(pid)), default=0
            )
            total += _beside_resident_kib(pid)
        except PermissionError:
            return None
    return total / 1024


def _proportional_kib(place: Path) -> int:
    """What one process or thread shows; 0 for one that has ended. Raises PermissionError."""
    try:
        lines = (place / "smaps_rollup").read_text().splitlines()
    except PermissionError:
        raise
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _threads(pid: int) -> list[Path]:
    try:
        return list(Path("/proc", str(pid), "task").iterdir())
    except OSError:
        return []


def sockets(pid: int) -> int:
    """The sockets in the network namespace of a process, those included that are closed and still hold memory; 0 once
    it is gone."""
    try:
        first = Path(f"/proc/{pid}/net/sockstat").read_text().splitlines()[0]
    except OSError:
        return 0
    return int(first.removeprefix("sockets: used "))


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


def terminals(root: str) -> int:
    """The pseudo-terminals of the sandbox below `root` (as for `scratch_inodes`); 0 once it is gone."""
    try:
        return sum(name.isdigit() for name in os.listdir(f"{root}/dev/pts"))
    except OSError:
        return 0
