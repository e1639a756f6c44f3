"""Watches one attack's memory from a process of its own, which shares no code with the sandbox.

`python -I -S observer.py SEED` says "ready", looks every 25 ms until its stdin ends, and prints what it saw as JSON. It
finds the run by the seed in an environment, and from then on by the pid namespace, which no program can leave: its
processes' proportional memory and page tables, the buffers of its sockets as the kernel tells them inside of its
network namespace, and the kernel's own account of its memory group. The machine's available memory is noted too; others
use it as well, so that nobody is judged by it. Standard library only.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Thread

LOOK_MS = 25
CLONE_NEWNET = 0x40000000
NETLINK_SOCK_DIAG, BY_FAMILY, DUMP, DONE, FAILED = 4, 20, 0x301, 3, 2
UNIX_MEMINFO, INET_MEMINFO = 5, 7
READ, WRITTEN, AHEAD = 0, 2, 4  # places in the kernel's list of what a socket holds
GROUPS = (
    ("memory", "/sys/fs/cgroup/memory", "memory.max_usage_in_bytes"),
    ("", "/sys/fs/cgroup", "memory.peak"),
)


@dataclass
class Seen:
    """The most that was seen of a run, in MiB: `peak_mib` of processes and sockets at one moment, `group_mib` of its
    memory group, `dropped_mib` of the machine's available memory. None for what nobody could see."""

    looks: int = 0
    peak_mib: float | None = None
    sockets_mib: float | None = None
    group_mib: float | None = None
    dropped_mib: float = 0.0


@dataclass
class Observer:
    """Looks for the run with this seed, and at it."""

    marker: bytes
    seen: Seen = field(default_factory=Seen)
    namespace: int = 0
    network: int = -1
    searches: dict[int, Thread] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.own, self.available = _namespace("self"), _available_mib()

    def look(self) -> None:
        """One look."""
        self.seen.dropped_mib = max(self.seen.dropped_mib, self.available - _available_mib())
        places = {int(name): _namespace(name) for name in os.listdir("/proc") if name.isdigit()}
        if not self.namespace:
            self._find(places)
        pids = [pid for pid, place in places.items() if place == self.namespace and place]
        if not pids:
            return
        self.seen.looks += 1
        for pid in pids[:1]:  # first, since a program can hold up whoever reads its processes
            if (group := _group_mib(pid)) is not None:
                self.seen.group_mib = max(self.seen.group_mib or 0.0, group)
        held = sum(map(_process_mib, pids))
        if (sockets := self._sockets_mib(pids)) is not None:
            self.seen.sockets_mib = max(self.seen.sockets_mib or 0.0, sockets)
            held += sockets
        self.seen.peak_mib = max(self.seen.peak_mib or 0.0, held)

    def _find(self, places: dict[int, int]) -> None:
        """Searches each namespace on a thread of its own: an environment is read out of a program's memory, and a
        program can hold up whoever reads that. It may be a neighbour's, and ours be found meanwhile."""
        for place in {*places.values()} - {0, self.own}:
            if (search := self.searches.get(place)) is None or not search.is_alive():
                pids = [pid for pid, its in places.items() if its == place]
                self.searches[place] = Thread(target=self._search, args=(place, pids), daemon=True)
                self.searches[place].start()

    def _search(self, place: int, pids: list[int]) -> None:
        if any(_carries(pid, self.marker) for pid in pids):
            self.namespace = place

    def _sockets_mib(self, pids: list[int]) -> float | None:
        """What its sockets hold, asked inside of its network namespace; None where we may not go there."""
        if self.network < 0:
            with suppress(OSError):
                self.network = _asker(pids[-1])
        return _held_mib(self.network) if self.network >= 0 else None


@contextmanager
def watching(seed: int) -> Iterator[Seen]:
    """Has the run with this seed watched; what was seen is complete when the block ends."""
    seen = Seen()
    with subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(seed)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin and process.stdout
        process.stdout.readline()
        yield seen
        process.stdin.close()
        for name, value in json.loads(process.stdout.read()).items():
            setattr(seen, name, value)


def main(seed: str) -> None:
    """Looks until stdin ends."""
    observer = Observer(f"HARNESS_SEED={seed}".encode())
    print("ready", flush=True)
    poll = select.poll()
    poll.register(0, select.POLLIN)
    while not poll.poll(LOOK_MS):
        observer.look()
    print(json.dumps(asdict(observer.seen)))


def _namespace(pid: str) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return 0


def _carries(pid: int, marker: bytes) -> bool:
    try:
        return marker in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def _available_mib() -> float:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) / 1024


def _process_mib(pid: int) -> float:
    """Proportional resident memory, swapped-out memory and page tables of one process; its first thread may be gone."""
    with suppress(OSError):
        places = [Path(f"/proc/{pid}"), *Path(f"/proc/{pid}/task").iterdir()]
        return max(map(_place_mib, places[: 1 if _place_mib(places[0]) else None]))
    return 0.0


def _place_mib(place: Path) -> float:
    total = 0
    for name, kinds in (("smaps_rollup", ("Pss:", "SwapPss:")), ("status", ("VmPTE:",))):
        with suppress(OSError):
            lines = (place / name).read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith(kinds))
    return total / 1024


def _group_mib(pid: int) -> float | None:
    """The most that the memory group of this process ever held; None where it has none but the one that we are in."""
    with suppress(OSError):
        if Path(f"/proc/{pid}/cgroup").read_bytes() == Path("/proc/self/cgroup").read_bytes():
            return None
        groups = [line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
        for controller, base, name in GROUPS:
            for kind, path in groups:
                # Of a process that is ending, version 1 says that it is in the first group of all.
                if kind == controller and path != "/" and (peak := Path(base + path, name)).is_file():
                    return int(peak.read_text()) / (1 << 20)
    return None


def _asker(pid: int) -> int:
    """A socket that asks the kernel about the sockets in the network namespace of this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as ours, open(f"/proc/{pid}/ns/net") as theirs:
        if libc.setns(theirs.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            return socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG).detach()
        finally:
            libc.setns(ours.fileno(), CLONE_NEWNET)


def _held_mib(asker: int) -> float:
    unix = struct.pack("<BBHIIIII", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, 1 << UNIX_MEMINFO, 0, 0)
    requests = [(unix, 16, UNIX_MEMINFO)]
    for family in (socket.AF_INET, socket.AF_INET6):
        for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
            asked = struct.pack("<BBBBI48x", family, protocol, 1 << INET_MEMINFO - 1, 0, 0xFFFFFFFF)
            requests.append((asked, 72, INET_MEMINFO))
    with socket.socket(fileno=os.dup(asker)) as channel:
        held = sum(_asked(channel, request, head, kind) for request, head, kind in requests)
    return held / (1 << 20)


def _asked(channel: socket.socket, request: bytes, head: int, kind: int) -> int:
    """Bytes held by all sockets in the answer to one request; each is a head of this length, then attributes."""
    channel.send(struct.pack("<IHHII", 16 + len(request), BY_FAMILY, DUMP, 0, 0) + request)
    held = 0
    while True:
        data = channel.recv(1 << 18)
        while data:
            length, what = struct.unpack_from("<IH", data)
            if what in (DONE, FAILED):
                return held
            held += _memory(data[16 + head : length], kind)
            data = data[length + 3 & ~3 :]


def _memory(attributes: bytes, kind: int) -> int:
    while len(attributes) >= 4:
        length, what = struct.unpack_from("<HH", attributes)
        if what == kind:
            values = struct.unpack_from("<9I", attributes, 4)
            return values[READ] + values[WRITTEN] + values[AHEAD]
        attributes = attributes[max(length + 3 & ~3, 4) :]
    return 0


if __name__ == "__main__":
    main(sys.argv[1])
