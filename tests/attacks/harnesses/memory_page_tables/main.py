"""Keeps memory in page tables: reads one byte of each two mebibytes of nothing, in many children."""

from __future__ import annotations

import mmap
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
for _ in range(60):
    if os.fork() == 0:
        kept = []
        for _ in range(15):
            try:
                kept.append(mmap.mmap(-1, 256 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ))
            except OSError:
                break
            for at in range(0, 256 << 20, 2 << 20):
                kept[-1][at]
        time.sleep(30)
time.sleep(30)
