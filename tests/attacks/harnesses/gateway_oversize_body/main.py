"""Sends bodies that are too large, or lie about their size."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer


def attack() -> None:
    """Carry it out."""
    from gateway_client import chat, last, raw

    print(chat(messages=[{"role": "user", "content": "x" * (3 << 20)}])[0])
    for length in (b"1" + b"0" * 12, b"9" * 5000, b"-1", b"0x10", b" 5 5", b"", b"2097152"):
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: " + length + b"\r\n\r\n{}"
        print(length[:20], raw(head, 0.3)[:12])
    print(raw(b"POST /v1/chat/completions HTTP/1.1\r\n" + b"A: b\r\n" * 500 + b"\r\n", 0.5)[:12])
    print(raw(b"POST /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", 0.5)[:12])
    last()


answer()
if "OPENAI_BASE_URL" in os.environ:
    attack()
