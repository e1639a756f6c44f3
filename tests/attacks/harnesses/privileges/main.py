"""Asks the kernel for namespaces, mounts, tracing, rings and root."""

from __future__ import annotations

import ctypes
import fcntl
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
libc = ctypes.CDLL(None, use_errno=True)
NUMBERS = {
    "x86_64": {"unshare": 272, "mount": 165, "bpf": 321, "perf": 298, "userfaultfd": 323, "io_uring": 425,
               "keyctl": 250, "setns": 308, "ptrace": 101, "memfd": 319, "kexec": 246, "clone3": 435},
    "aarch64": {"unshare": 97, "mount": 40, "bpf": 280, "perf": 241, "userfaultfd": 282, "io_uring": 425,
                "keyctl": 219, "setns": 268, "ptrace": 117, "memfd": 279, "kexec": 104, "clone3": 435},
}  # fmt: skip
for name, number in NUMBERS[os.uname().machine].items():
    refused = libc.syscall(number, 0x10000000, 0, 0, 0, 0) == -1 and ctypes.get_errno() in (1, 38)
    if not refused:
        print("BREACH", name, ctypes.get_errno())
for change in (os.setuid, os.setgid):
    try:
        change(0)
        print("BREACH", change)
    except OSError:
        continue
if os.spawnl(os.P_WAIT, "/usr/bin/unshare", "unshare", "-Ur", "true") == 0:
    print("BREACH user namespace")
try:
    fcntl.ioctl(0, 0x5412, b"x")
    print("BREACH terminal injection")
except PermissionError:
    pass
