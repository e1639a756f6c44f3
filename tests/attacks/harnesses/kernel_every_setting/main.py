"""Writes to every setting of the kernel in /proc/sys, those of its own network above all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
for base, _, names in os.walk("/proc/sys"):
    for name in names:
        path = os.path.join(base, name)
        try:
            before = Path(path).read_bytes()
        except OSError:
            before = b"0\n"
        try:
            descriptor = os.open(path, os.O_WRONLY)
        except OSError:
            continue
        print("BREACH could open for writing", path)
        try:
            os.write(descriptor, before)
        except OSError:
            continue
