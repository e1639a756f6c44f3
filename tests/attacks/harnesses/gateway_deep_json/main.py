"""Sends JSON that breaks parsers, records and databases."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer


def attack() -> None:
    """Carry it out."""
    from gateway_client import HELLO, chat, last, post

    def nested(depth: int) -> str:
        return '{"a":' * depth + "1" + "}" * depth

    for depth in (80, 900, 990, 100_000):
        tool = f'[{{"type": "function", "function": {{"name": "f", "parameters": {nested(depth)}}}}}]'
        body = f'{{"model": "task-model", "messages": [{{"role": "user", "content": "x"}}], "tools": {tool}}}'
        print(depth, post("/v1/chat/completions", body.encode())[0])
    for value in (
        "NaN",
        "-Infinity",
        "1e999",
        "9" * 5000,
        '"\\u0000"',
        '"\\ud800"',
        "tru",
        '"\x00"',
        "[" * 5000,
    ):
        for body in (
            f'{{"model": "task-model", "messages": [], "seed": {value}}}',
            f'{{"x": {value}}}',
            value,
        ):
            print(value[:12], post("/v1/chat/completions", body.encode())[0])
    print(
        chat(messages=[*HELLO, {"role": "user", "content": "\0"}])[0],
        chat(metadata={"item_id": "x" * 150})[0],
    )
    print(post("/v1/chat/completions", b"\x1f\x8b\x08\x00", {"Content-Encoding": "gzip"})[0])
    last()


answer()
if "OPENAI_BASE_URL" in os.environ:
    attack()
