"""Forges the record of what went before: appends to it, replaces it, links to it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import TARGETS, answer

answer()
victim = TARGETS["writable"][0]
for place in (*TARGETS["writable"], "/open/history.jsonl", "/proc/1/root" + victim):
    for change, *arguments in (
        (os.open, place, os.O_WRONLY | os.O_APPEND),
        (os.truncate, place, 0),
        (os.rename, "/out/predictions.jsonl", place),
        (os.symlink, "/out/predictions.jsonl", place + ".new"),
        (os.link, "/out/predictions.jsonl", place + ".link"),
    ):
        try:
            change(*arguments)
            print("BREACH forged", place, change)
        except OSError:
            continue
