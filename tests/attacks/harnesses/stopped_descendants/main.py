"""Leaves children that are stopped, in sessions of their own, with the log still open."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
for _ in range(5):
    child = os.fork()
    if child == 0:
        os.setsid()
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(60)
    os.waitpid(child, os.WUNTRACED)
