"""Which process made something, said so that another on the same host can tell whether it is still alive."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def this_process() -> tuple[str, int, str]:
    """(host, process id, start): together the name of this process that no other ever bears."""
    return socket.gethostname(), os.getpid(), started(os.getpid())


def is_dead(host: str, pid: int, start: str) -> bool:
    """Whether that process ran on this host and is gone. Of another host nothing is known: False."""
    return host == socket.gethostname() and started(pid) != start


def started(pid: int) -> str:
    """When the kernel started this process (clock ticks since boot); empty when there is none or only a corpse."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
