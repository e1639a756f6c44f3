"""Nests folders deeper than a path can name, with long names and links that turn in circles."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
os.chdir("/scratch")
for _ in range(2000):
    os.mkdir("d" * 250)
    os.symlink(".", "loop")
    os.symlink("../" * 20 + "etc/passwd", "up")
    os.chdir("d" * 250)
