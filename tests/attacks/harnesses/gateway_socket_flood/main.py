"""Floods the gateway's own socket, past the relay."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer


def attack() -> None:
    """Carry it out."""
    import socket

    from gateway_client import last

    held, answers = [], set()
    for _ in range(180):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(1.0)
        try:
            connection.connect(os.environ["LLM_SOCKET"])
        except OSError as error:
            answers.add(repr(error))
        held.append(connection)
    for connection in held[64:]:
        try:
            answers.add(connection.recv(12).decode())
        except OSError as error:
            answers.add(repr(error))
    print(sorted(answers))
    for connection in held:
        connection.close()
    last()


answer()
if "OPENAI_BASE_URL" in os.environ:
    attack()
