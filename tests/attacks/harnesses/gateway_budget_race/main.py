"""Fires many dear calls at once, so that they all pass a budget that has room for few."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer


def attack() -> None:
    """Carry it out."""
    from threading import Barrier, Thread

    from gateway_client import chat

    start = Barrier(40)

    def fire() -> None:
        start.wait()
        for _ in range(3):
            print(chat(max_tokens=10)[0])

    threads = [Thread(target=fire) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


answer()
if "OPENAI_BASE_URL" in os.environ:
    attack()
