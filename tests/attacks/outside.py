"""What can be seen of an attack from outside of its sandbox: processes that are still there, traces on the machine."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from loop.sandbox.slots import FIRST_UID, FOLDER, SLOTS

SETTLE_S = 3.0
SLOT_UIDS = range(FIRST_UID, FIRST_UID + SLOTS)
SHARED_FOLDERS = ("/", "/dev/shm", "/tmp", "/var/tmp", "/run", "/run/lock", "/etc", "/usr")
SENTINELS = ("/etc/ld.so.preload", "/x", "/usr/x", "/dev/x", "/run/x", "/in", "/out", "/scratch", "/harness")


def with_seed(seed: int) -> list[int]:
    """The pids of all processes on this machine that carry the run's seed in their environment."""
    marker, found = f"HARNESS_SEED={seed}".encode(), []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and marker in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def with_uid(uids: range) -> Iterator[tuple[int, int]]:
    """(pid, uid) of all processes of these users; corpses belong to nobody."""
    for name in os.listdir("/proc"):
        try:
            uid = os.stat(f"/proc/{name}").st_uid if name.isdigit() else -1
        except OSError:
            continue
        if uid in uids:
            yield int(name), uid


def in_free_slots() -> list[int]:
    """The pids of processes with a sandbox's uid that no live sandbox has taken. For root alone."""
    found: list[int] = []
    for slot in {uid - FIRST_UID for _, uid in with_uid(SLOT_UIDS)}:
        with (FOLDER / f"{slot}.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # a run of somebody else's: it may be alive
            found += [pid for pid, _ in with_uid(range(FIRST_UID + slot, FIRST_UID + slot + 1))]
    return found


def strays(uid: int, keeper: int) -> list[int]:
    """The pids of processes of this user that do not descend from the process `keeper`."""
    return [pid for pid, _ in with_uid(range(uid, uid + 1)) if not _descends(pid, keeper)]


def _descends(pid: int, keeper: int) -> bool:
    while pid > 1 and pid != keeper:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return True  # gone meanwhile
    return pid == keeper


def settled(look: Callable[[], list[int]]) -> list[int]:
    """What `look` still finds when the kernel has had time to bury the dead."""
    deadline = time.monotonic() + SETTLE_S
    while (found := look()) and time.monotonic() < deadline:
        os.sched_yield()
    return found


def traces(uids: range) -> list[str]:
    """What lies on this machine and belongs to these users: files in shared folders, System V and POSIX objects."""
    return [*_files(uids), *_system_v(uids), *_queues(uids)]


def sentinels() -> dict[str, float]:
    """{path: time of change} of those of the system's paths that attacks write to, where they exist."""
    return {path: os.lstat(path).st_ctime for path in SENTINELS if os.path.lexists(path)}


def _files(uids: range) -> Iterator[str]:
    for folder in SHARED_FOLDERS:
        if os.path.isdir(folder):
            for entry in os.scandir(folder):
                try:
                    if entry.stat(follow_symlinks=False).st_uid in uids:
                        yield entry.path
                except OSError:
                    continue


def _system_v(uids: range) -> Iterator[str]:
    for kind in ("shm", "msg", "sem"):
        try:
            head, *rows = Path("/proc/sysvipc", kind).read_text().splitlines()
        except OSError:
            continue
        for row in rows:
            values = dict(zip(head.split(), row.split(), strict=False))
            if {int(values["uid"]), int(values["cuid"])} & set(uids):
                yield f"System V {kind} {values['key']}"


def _queues(uids: range) -> Iterator[str]:
    if os.geteuid() != 0 or "\tmqueue\n" not in Path("/proc/filesystems").read_text():
        return
    script = "mount -t mqueue none /mnt && ls -nA /mnt"
    listed = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=True
    ).stdout
    for row in listed.splitlines()[1:]:
        if int(row.split()[2]) in uids:
            yield f"message queue {row.split()[-1]}"
