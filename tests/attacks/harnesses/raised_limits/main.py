"""Raises its own limits, priority and place among processors, and lowers the limit that keeps crashes to itself."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
RLIMITS = {"NPROC": 6, "NOFILE": 7, "FSIZE": 1, "CPU": 0, "AS": 9, "CORE": 4, "RTPRIO": 14}
for name, number in RLIMITS.items():
    soft, hard = resource.getrlimit(number)
    try:
        resource.setrlimit(number, (hard + 1 if hard >= 0 else hard, hard + 1 if hard >= 0 else hard))
    except (OSError, ValueError):
        continue
    if hard >= 0 and resource.getrlimit(number) == (soft, hard):
        continue
    print("BREACH raised" if hard >= 0 else "no limit on", name, hard)
# At any limit on core files but one byte, a crash starts the host's crash handler, as root, on the program's memory.
resource.setrlimit(4, (0, 0))
if resource.getrlimit(6)[1] > 64 or resource.getrlimit(4) != (1, 1):
    print("BREACH no limit on processes, or cores for the host's crash handler")
for attempt in (
    lambda: os.nice(-10),
    lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)),
    lambda: os.setpriority(os.PRIO_PROCESS, 0, -5),
):
    try:
        print("BREACH priority", attempt())
    except OSError:
        continue
