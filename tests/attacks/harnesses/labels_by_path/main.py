"""Knows where labels and secrets lie and opens them, plainly and through /proc."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import TARGETS, answer

answer()
for root in ("", "/proc/1/root", "/proc/self/root", "/proc/self/cwd/..", "/proc/2/root"):
    for path in TARGETS["secrets"]:
        try:
            print(Path(root + path).read_text())
        except OSError as error:
            print(error.errno)
