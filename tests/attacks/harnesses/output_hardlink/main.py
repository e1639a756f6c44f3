"""Gives the output a second name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
os.link("/out/predictions.jsonl", "/out/again.jsonl")
