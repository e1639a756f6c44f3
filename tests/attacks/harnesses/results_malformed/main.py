"""Leaves results of every wrong shape, a list, words, no number, more than one."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
SHAPES = (
    "[]",
    '"high"',
    "NaN",
    '{"result": NaN}',
    '{"accuracy": 1e999}',
    "{",
    "",
    '{"result": {}}{"result": {}}',
)
for index, shape in enumerate(SHAPES):
    for name in ("result.json", f"result{index}.json", f"results-{index}.json"):
        Path("/out", name).write_text(shape)
