"""Looks for any way to the host's network."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import TARGETS, answer

answer()
for host in ("127.0.0.1", "localhost", "169.254.169.254", "10.0.0.1", "1.1.1.1", "::1"):
    for port in (TARGETS["port"], 80, 53):
        try:
            with socket.create_connection((host, port), timeout=0.3) as connection:
                connection.sendall(b"out")
                print("connected", host, port)
        except OSError:
            continue
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
    datagram.connect_ex(("127.0.0.1", TARGETS["port"]))
    print(datagram.getsockname())
