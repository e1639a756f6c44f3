"""Opens all the files it may, hides more in messages on their way, and ends well."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
left, right = socket.socketpair()
left.setblocking(False)
sent, kept = 0, []
try:
    while True:
        with open("/dev/null") as handle:
            socket.send_fds(left, [b"x"], [handle.fileno()])
        sent += 1
except OSError:
    pass
try:
    while True:
        kept.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
print(sent, len(kept))
if len(kept) > 256:
    print("BREACH", len(kept))
