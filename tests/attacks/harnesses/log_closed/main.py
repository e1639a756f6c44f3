"""Closes its log and its input, and puts others in their places."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
os.closerange(0, 3)
for name in ("/scratch/a", "/scratch/b", "/scratch/c"):
    os.open(name, os.O_RDWR | os.O_CREAT)
os.write(1, b"accuracy: 1.0")
