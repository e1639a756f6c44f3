"""Kills, traces and borrows from everything it can name."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import TARGETS, answer

answer()
libc = ctypes.CDLL(None, use_errno=True)
for pid in [1, TARGETS["judge"], os.getppid()]:
    if libc.ptrace(16, pid, 0, 0) == 0:
        print("BREACH ptrace", pid)
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        continue
    if libc.syscall(438, descriptor, 0, 0) >= 0:
        print("BREACH pidfd_getfd", pid)
for pid in (TARGETS["judge"], -1):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        continue
