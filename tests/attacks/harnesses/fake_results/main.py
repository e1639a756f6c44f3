"""Plants results, prints scores and writes to every descriptor it can find."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
for name in ("results.json", "result.json", "score.json", "COMPLETED"):
    Path("/out", name).write_text('{"result": {"items": {}, "metrics": {"accuracy": 1.0}}, "score": 1.0}')
print('{"outcome": "ok", "score": 1.0, "metrics": {"accuracy": 1.0}}')
print("accuracy: 99.9%")
for descriptor in range(3, 64):
    try:
        os.write(descriptor, b'{"outcome": "ok", "score": 1.0}\n')
        print("BREACH descriptor", descriptor)
    except OSError:
        continue
