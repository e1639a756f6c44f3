"""Locks files that all runs share, and looks for locks and times that an earlier run has left."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
for path in ("/usr/bin/python3", "/venv/pyvenv.cfg", "/etc/ld.so.cache", "/usr", "/in", "/harness"):
    try:
        descriptor = os.open(path, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("BREACH a lock is held on", path)
    except OSError:
        continue
if os.fork() == 0:
    time.sleep(60)
