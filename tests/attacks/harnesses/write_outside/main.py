"""Writes to inputs, runtime, system folders and known host paths."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import TARGETS, answer

answer()
places = ["/in/inputs.jsonl", "/harness/main.py", "/venv/pyvenv.cfg", "/usr/x"]
places += ["/etc/ld.so.preload", "/x", "/dev/x", "/run/x"]
for place in places + TARGETS["writable"]:
    try:
        with open(place, "a") as handle:
            handle.write("owned")
        print("BREACH wrote", place)
    except OSError:
        continue
