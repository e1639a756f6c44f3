"""Spreads memory over many children, each below any limit of its own."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
for _ in range(30):
    if os.fork() == 0:
        block = bytearray(os.urandom(1 << 20) * 60)
        time.sleep(30)
time.sleep(30)
