"""Listens where the host's own services are, so that somebody connects to it."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import TARGETS, answer

answer()
held = []
for family, address in (
    (socket.AF_INET, ("0.0.0.0", TARGETS["port"])),
    (socket.AF_INET, ("0.0.0.0", 6379)),
    (socket.AF_INET6, ("::", 8000)),
    (socket.AF_UNIX, "\0" + TARGETS["unix_abstract"]),
):
    listener = socket.socket(family)
    try:
        listener.bind(address)
        listener.listen()
        listener.settimeout(0.2)
        held.append(listener)
    except OSError as error:
        print(address, error.errno)
for listener in held:
    try:
        print("BREACH a caller", listener.accept()[1])
    except TimeoutError:
        continue
