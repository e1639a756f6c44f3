"""Leaves a key in the keyrings of user, session and process, and looks for an earlier one."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
libc = ctypes.CDLL(None, use_errno=True)
ADD, REQUEST, KEYCTL = {"x86_64": (248, 249, 250), "aarch64": (217, 218, 219)}[os.uname().machine]
for ring in range(-1, -6, -1):
    if libc.syscall(ADD, b"user", b"pawl-mark", b"mark", 4, ring) >= 0:
        print("BREACH kept a key in", ring)
if libc.syscall(REQUEST, b"user", b"pawl-mark", None, -4) >= 0:
    print("BREACH an earlier key")
if libc.syscall(KEYCTL, 0, -3, 1, 0, 0) >= 0:
    print("BREACH a session keyring")
