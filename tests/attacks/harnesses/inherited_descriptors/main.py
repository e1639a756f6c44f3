"""Looks for descriptors that it was not meant to have, and reads its input."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
own = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY)
for name in os.listdir(own):
    if int(name) in (0, 1, 2, own):
        continue
    try:
        print("BREACH descriptor", name, os.readlink(f"/proc/self/fd/{name}"))
    except OSError:
        continue
if sys.stdin is not None and sys.stdin.read():
    print("BREACH something on its input")
