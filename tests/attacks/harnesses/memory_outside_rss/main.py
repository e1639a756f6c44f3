"""Keeps memory where no process is charged for it: memfd, shared memory, scratch."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
try:
    os.memfd_create("x")
    print("BREACH memfd")
except OSError:
    pass
for folder in ("/dev/shm", "/scratch", "/dev", "/", "/run"):
    written = 0
    try:
        with open(f"{folder}/fill", "wb", buffering=0) as handle:
            for _ in range(300):
                written += handle.write(bytes(1 << 20))
    except OSError:
        pass
    if written > 70 << 20:
        print("BREACH wrote", folder, written)
