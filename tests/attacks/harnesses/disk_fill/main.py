"""Fills every folder to the brim, by blocks that are allotted and never written."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
total = 0
for folder in ("/scratch", "/out", "/dev/shm", "/", "/dev", "/run", "/proc", "/harness", "/in"):
    for index in range(200):
        try:
            with open(f"{folder}/fill{index}", "wb") as handle:
                os.posix_fallocate(handle.fileno(), 0, 16 << 20)
                total += 16 << 20
        except OSError:
            break
print(total >> 20, "MiB")
if total > 130 << 20:
    print("BREACH", total)
