"""Leaves System V and POSIX queues, semaphores and locks, and looks for those of an earlier run."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
libc = ctypes.CDLL(None, use_errno=True)
for name in ("shmget", "semget", "msgget"):
    size = (4096,) if name == "shmget" else (1,) if name == "semget" else ()
    if getattr(libc, name)(0x7A7A, *size, 0o3600) < 0 and ctypes.get_errno() == 17:
        print("BREACH an earlier", name)
libc.mq_open.restype = ctypes.c_int
if libc.mq_open(b"/pawlmark", 0o302, 0o600, None) < 0 and ctypes.get_errno() == 17:
    print("BREACH an earlier mq_open")
with socket.socket(socket.AF_UNIX) as mark:
    try:
        mark.bind("\0pawl-mark")
    except OSError:
        print("BREACH an earlier abstract name")
if os.fork() == 0:
    time.sleep(60)
