"""Writes to its log without end."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
while True:
    os.write(1, b"accuracy: 99.9%\n" * 4096)
