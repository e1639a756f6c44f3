"""Writes one line of twelve mebibytes that never ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
for _ in range(12 * 16):
    os.write(1, b"=" * (1 << 16))
