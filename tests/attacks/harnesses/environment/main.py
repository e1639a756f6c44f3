"""Looks for keys in its own environment and in every process it can see."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
print(dict(os.environ))
for entry in os.listdir("/proc"):
    for name in ("environ", "cmdline", "maps"):
        try:
            print(Path(f"/proc/{entry}/{name}").read_bytes().replace(b"\0", b" "))
        except OSError:
            continue
