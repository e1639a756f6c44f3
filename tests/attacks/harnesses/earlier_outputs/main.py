"""Looks for what an earlier run has written and answers with it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

for folder in ("/out", "/scratch", "/dev/shm", "/tmp", "/var/tmp"):
    left = os.listdir(folder) if os.path.isdir(folder) else []
    if left:
        print("BREACH", folder, left)
answer()
