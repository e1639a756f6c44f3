"""Makes the output a socket (a FIFO or a device where it can)."""

from __future__ import annotations

import os
import socket

try:
    os.mkfifo("/out/predictions.jsonl")
    print("BREACH fifo")
except OSError:
    socket.socket(socket.AF_UNIX).bind("/out/predictions.jsonl")
