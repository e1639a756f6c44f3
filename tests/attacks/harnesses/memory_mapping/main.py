"""Maps two gibibytes at once and touches all of it."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
block = mmap.mmap(-1, 1 << 30)
for offset in range(0, len(block), 4096):
    block[offset] = 1
print("BREACH touched", len(block))
