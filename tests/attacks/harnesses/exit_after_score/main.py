"""Leaves a score and a result, then ends with a failure that nobody may count."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
for name in ("result.json", "results.json", "score.txt", "metrics.json"):
    Path("/out", name).write_text('{"accuracy": 0.90}')
print("accuracy: 0.90")
sys.exit(3)
