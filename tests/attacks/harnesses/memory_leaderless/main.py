"""Ends its first thread, so that /proc reports no memory for the process that the others fill."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
libc = ctypes.CDLL(None)


def fill() -> None:
    blocks = []
    for _ in range(700):
        blocks.append(b"x" * (1 << 20))
    print("BREACH filled", len(blocks), "MiB", flush=True)
    os._exit(0)


threading.Thread(target=fill).start()
libc.syscall({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)
