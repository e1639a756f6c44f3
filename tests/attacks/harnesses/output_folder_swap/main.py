"""Swaps the output folder itself for a link to the labels."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import TARGETS, answer

answer()
for attempt in (
    lambda: os.rename("/out", "/out2"),
    lambda: os.rmdir("/out"),
    lambda: os.rename("/out", "/scratch/out"),
    lambda: os.symlink(os.path.dirname(TARGETS["secrets"][0]), "/out"),
    lambda: os.link("/in/inputs.jsonl", "/out/inputs.jsonl"),
):
    try:
        attempt()
        print("BREACH swapped")
    except OSError as error:
        print(error.errno)
