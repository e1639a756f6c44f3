"""Connects to unix sockets of the host, by path and by abstract name."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import TARGETS, answer

answer()
addresses = [
    TARGETS["unix_path"],
    "\0" + TARGETS["unix_abstract"],
    "/run/docker.sock",
    "/run/dbus/system_bus_socket",
]
for address in addresses:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(address)
            connection.sendall(b"out")
            print("BREACH connected", address)
        except OSError:
            continue
