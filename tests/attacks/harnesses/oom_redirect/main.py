"""Makes itself the last that the kernel would kill for want of memory, then fills memory that no process has."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
for entry in os.listdir("/proc"):
    with suppress(OSError):
        Path("/proc", entry, "oom_score_adj").write_text("0")
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
for _ in range(45):
    segment = libc.shmget(0, 20 << 20, 0o1600)
    address = libc.shmat(segment, None, 0)
    if segment < 0 or address in (None, 2**64 - 1):
        break
    ctypes.memset(address, 1, 20 << 20)
    libc.shmdt(ctypes.c_void_p(address))
else:
    print("BREACH kept 900 MiB")
