"""Makes the output eight tebibytes of nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
os.truncate("/out/predictions.jsonl", 31 << 20)
try:
    os.truncate("/out/predictions.jsonl", 8 << 40)
    print("BREACH sparse")
except OSError:
    pass
