"""Leaves a daemon without descriptors, environment, name or session of its parent."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 256)
        os.chdir("/")
        os.umask(0)
        os.execve("/usr/bin/sleep", ["kworker/0:1"[:15], "60"], {})
    os._exit(0)
os.wait()
