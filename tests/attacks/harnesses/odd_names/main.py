"""Leaves names of bytes that are no text, of control characters, look-alikes and of other cases."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
NAMES = (b"\xff\xfe\xed\xa0\x80", b"\x1b[2Jx", b"pr\xd0\xb5dictions.jsonl", b"PREDICTIONS.JSONL", b"n" * 255,
         b"--help", b"$(touch x)", b"CON", b" ", b"predictions.jsonl ", "\u202elnosj".encode())  # fmt: skip
for name in NAMES:
    os.close(os.open(b"/out/" + name, os.O_CREAT | os.O_WRONLY))
