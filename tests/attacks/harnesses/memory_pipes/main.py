"""Keeps memory in the kernel: full pipes, each as large as the kernel lets it be."""

from __future__ import annotations

import fcntl
import os
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
kept, ends = 0, []
try:
    while True:
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        with suppress(OSError):
            fcntl.fcntl(write_end, 1031, 1 << 20)
        ends += [read_end, write_end]
        try:
            while True:
                kept += os.write(write_end, bytes(1 << 16))
        except BlockingIOError:
            continue
except OSError:
    print("kept", kept >> 20, "MiB")
if kept > 600 << 20:
    print("BREACH kept", kept)
