"""Writes bytes that are no text, NULs and halves of characters."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
for block in (bytes(range(256)) * 64, b"\xed\xa0\x80\xff\xfe\xf0\x9f", b"\0" * 10_000, os.urandom(50_000)):
    os.write(1, block)
