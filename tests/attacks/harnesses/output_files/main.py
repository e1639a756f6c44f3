"""Fills the output folder with files faster than anyone could count."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
made = 0
try:
    for index in range(100_000):
        os.close(os.open(f"/out/{index}", os.O_CREAT))
        made += 1
except OSError:
    pass
if made > 64:
    print("BREACH made", made)
