"""Takes all that a machine has once for everybody: asynchronous I/O, terminals, timers, the disks' attention."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
libc = ctypes.CDLL(None)
IO_SETUP = {"x86_64": 206, "aarch64": 0}[platform.machine()]
MANY = 2048

if libc.syscall(IO_SETUP, 1, ctypes.byref(ctypes.c_ulong(0))) == 0:
    print("BREACH asynchronous I/O")
if libc.syncfs(os.open("/usr", os.O_RDONLY)) == 0:
    print("BREACH made the machine's disk write")
timer, timers = ctypes.c_void_p(), 0
while timers < MANY and libc.timer_create(1, None, ctypes.byref(timer)) == 0:
    timers += 1
if timers == MANY:
    print("BREACH timers", timers)
for _ in range(20):
    if os.fork() == 0:
        try:
            while True:
                os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
        except OSError:
            time.sleep(30)
time.sleep(0.5)
print("BREACH terminals", len(os.listdir("/dev/pts")))
