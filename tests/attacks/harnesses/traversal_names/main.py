"""Uses names with folders in them, hoping that someone joins paths."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
for name in ("..\\..\\evil", "-rf", "predictions.jsonl\n", "evil;touch x"):
    Path("/out", name).write_text("x")
try:
    os.rename("/out/predictions.jsonl", "/out/../predictions.jsonl")
    print("BREACH renamed")
except OSError:
    pass
