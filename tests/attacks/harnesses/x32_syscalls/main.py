"""Enters the kernel by the x32 numbers, past a filter for 64-bit ones."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
libc = ctypes.CDLL(None, use_errno=True)
if os.uname().machine == "x86_64":
    print("BREACH x32 returned", libc.syscall(0x40000000 + 39), flush=True)
else:
    os.abort()
