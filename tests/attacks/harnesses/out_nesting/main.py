"""Nests folders, long names and circling links among its outputs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
os.chdir("/out")
made = 0
try:
    while True:
        os.symlink("/out", "loop" + "x" * 240)
        os.mkdir("d" * 255)
        os.chdir("d" * 255)
        made += 2
except OSError:
    pass
if made > 66:
    print("BREACH made", made)
