"""Sets the high half of arguments that the kernel drops, past a filter that compares all of it."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.argtypes = [ctypes.c_long] * 5
IOCTL, SOCKET, CLONE = {"x86_64": (16, 41, 56), "aarch64": (29, 198, 220)}[os.uname().machine]
ATTEMPTS = {
    "injection": (IOCTL, 0, 0x1_0000_5412, 0, 0),
    "vsock": (SOCKET, 0x1_0000_0028, 1, 0, 0),
    "netlink": (SOCKET, 0x7_0000_0010, 3, 0, 0),
    "packet": (SOCKET, -(1 << 32) + 17, 3, 0, 0),
    "namespace": (CLONE, 0x1_1000_0011, 0, 0, 0),
}
for name, call in ATTEMPTS.items():
    result = libc.syscall(*call)
    if result == 0 and name == "namespace":
        os._exit(0)
    if result >= 0 or ctypes.get_errno() not in (1, 22, 97):
        print("BREACH", name, result, ctypes.get_errno())
