"""Watches system files and devices that all runs share, to learn when and what others use."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
libc = ctypes.CDLL(None)
watches = libc.inotify_init1(os.O_NONBLOCK)
for path in ("/dev/null", "/dev/urandom", "/usr/bin", "/usr/bin/sh", "/etc/ld.so.cache"):
    if libc.inotify_add_watch(watches, path.encode(), 0xFFF) >= 0:
        print("BREACH watches", path)
signal.signal(signal.SIGIO, lambda *_: print("BREACH was told"))
for path, command, what in (
    ("/usr/bin", fcntl.F_NOTIFY, fcntl.DN_ACCESS),
    ("/venv/pyvenv.cfg", fcntl.F_SETLEASE, fcntl.F_RDLCK),
):
    try:
        fcntl.fcntl(os.open(path, os.O_RDONLY), command, what)
        print("BREACH a notice on", path)
    except OSError:
        continue
