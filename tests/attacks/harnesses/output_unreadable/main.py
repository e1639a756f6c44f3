"""Writes honest outputs and takes all rights away from them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
os.chmod("/out/predictions.jsonl", 0)
os.chmod("/out", 0)
