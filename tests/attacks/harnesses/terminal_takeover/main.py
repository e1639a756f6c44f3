"""Looks for a terminal to type into."""

from __future__ import annotations

import fcntl
import os
import pty
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
for name in ("/dev/tty", "/dev/console", "/proc/1/fd/0", "/proc/1/fd/1"):
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        print("BREACH a terminal", name, os.ttyname(descriptor))
    except OSError:
        continue
for descriptor in range(3):
    if os.isatty(descriptor):
        print("BREACH a terminal", descriptor)
master, slave = pty.openpty()
os.login_tty(slave) if hasattr(os, "login_tty") else os.setsid()
for request in (0x5412, 0x541C):
    try:
        fcntl.ioctl(slave, request, b"x")
        print("BREACH typed", request)
    except OSError:
        continue
