"""Reports an exit status of its own through the descriptors of the sandbox's first process, then dies."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
log = os.fstat(1).st_ino
for entry in [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]:
    for number in range(256):
        try:
            descriptor = os.open(f"/proc/{entry}/fd/{number}", os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            continue
        status = os.fstat(descriptor)
        if stat.S_ISFIFO(status.st_mode) and status.st_ino != log:
            os.write(descriptor, b'{"exit-code": 0}\n' * 64)
            print("BREACH reached", entry, number, flush=True)
os.abort()
