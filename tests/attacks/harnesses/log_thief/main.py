"""Reads its own log pipe empty, so that whoever watches it finds nothing where something was announced."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
try:
    log = os.open("/proc/self/fd/1", os.O_RDONLY | os.O_NONBLOCK)
except PermissionError:
    log = -1
if log >= 0:
    for _ in range(4):
        if os.fork() == 0:
            break
    until = time.monotonic() + 1
    while time.monotonic() < until:
        try:
            os.write(1, b"now you see it\n")
            os.read(log, 1 << 16)
        except BlockingIOError:
            continue
