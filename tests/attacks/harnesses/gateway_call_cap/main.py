"""Calls without an end, refused or not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer


def attack() -> None:
    """Carry it out."""
    from gateway_client import chat

    for number in range(150):
        status = chat(max_tokens=1, **({"store": True} if number % 2 else {}))[0]
    print(status)


answer()
if "OPENAI_BASE_URL" in os.environ:
    attack()
