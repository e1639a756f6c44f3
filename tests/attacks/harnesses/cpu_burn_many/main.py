"""Burns processor time in many short-lived grandchildren that nobody waits for."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
until = time.monotonic() + 60
while time.monotonic() < until:
    child = os.fork()
    if child == 0:
        for _ in range(8):
            if os.fork() == 0:
                end = time.monotonic() + 0.05
                while time.monotonic() < end:
                    continue
                os._exit(0)
        os._exit(0)
    os.waitpid(child, 0)
