"""Leaves zombies until no process can be started, and ends well."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
made = 0
try:
    for _ in range(1000):
        if os.fork() == 0:
            os._exit(0)
        made += 1
except OSError:
    pass
if made > 64:
    print("BREACH", made, "zombies")
