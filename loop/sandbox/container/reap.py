"""Who owns a container, and the removal of those whose owner is gone."""

from __future__ import annotations

import subprocess
from pathlib import Path

from loop.sandbox.container.engine import Engine, list_argv, remove_argvs

LIST_S = 60.0


def owner(pid: int) -> str:
    """A name for the process `pid` that no later process, and none of another boot, can have."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}.{pid}.{_started(pid)}"


def reap(engine: Engine) -> list[str]:
    """Removes this host's containers whose owner is dead; returns their names. A live owner's are left alone.

    Containers of another host or boot on the same engine are not judged: only theirs can know.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    done = subprocess.run(list_argv(engine), capture_output=True, text=True, timeout=LIST_S, check=False)
    gone = []
    for line in done.stdout.splitlines():
        name, _, label = line.partition(" ")
        where, _, rest = label.partition(".")
        pid, _, _ = rest.partition(".")
        if where == boot and pid.isdigit() and label != _owner_now(int(pid)):
            gone.append(name)
    for name in gone:
        for argv in remove_argvs(engine, name):
            subprocess.run(argv, capture_output=True, timeout=LIST_S, check=False)
    return gone


def _owner_now(pid: int) -> str:
    try:
        return owner(pid)
    except OSError:
        return ""


def _started(pid: int) -> str:
    """The process's start in clock ticks since boot. Raises OSError where there is no such process."""
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19].decode()
