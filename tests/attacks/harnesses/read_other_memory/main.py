"""Reads the memory of the processes around it."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import TARGETS, answer

answer()
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(64)
vector = struct.pack("<QQ", ctypes.addressof(buffer), 64)
number = {"x86_64": 310, "aarch64": 270}[os.uname().machine]
# Not the first process: that is bubblewrap's own inside, and has no right that this program lacks.
for pid in (TARGETS["judge"], *map(int, filter(str.isdigit, os.listdir("/proc")))):
    if pid in (1, os.getpid()):
        continue
    if libc.syscall(number, pid, vector, 1, vector, 1, 0) > 0:
        print("BREACH process_vm_readv", pid)
    try:
        line = Path(f"/proc/{pid}/maps").read_text().splitlines()[0]
        with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(int(line.split("-")[0], 16))
            print("BREACH read", pid, memory.read(16))
    except (OSError, IndexError):
        continue
