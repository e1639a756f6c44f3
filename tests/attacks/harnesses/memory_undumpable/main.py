"""Forbids others to look at its memory and fills it in many children."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
for _ in range(16):
    if os.fork() == 0:
        block = bytearray(os.urandom(1 << 16) * (16 * 50))
        time.sleep(30)
time.sleep(1.8)
print("BREACH kept 800 MiB")
