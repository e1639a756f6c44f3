"""Leaves marks wherever something might outlast a run, and looks for those of an earlier run."""

from __future__ import annotations

import os
import sys
from multiprocessing import shared_memory
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
PLACES = ("/tmp/mark", "/scratch/mark", "/dev/shm/mark", "/out/mark", "/run/mark", "/var/tmp/mark")
for place in PLACES:
    if os.path.exists(place):
        print("BREACH found", place)
for place in PLACES:
    try:
        Path(place).write_text("mark")
    except OSError:
        continue
try:
    shared_memory.SharedMemory("pawlmark", create=True, size=16)
except FileExistsError:
    print("BREACH found shared memory")
