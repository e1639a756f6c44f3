"""A baseline without the model: a digit drawn by the seed for each scan."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

SOURCE, TARGET = Path(os.environ["HARNESS_IN"]), Path(os.environ["HARNESS_OUT"])
items = [json.loads(line) for line in (SOURCE / "inputs.jsonl").read_text(encoding="utf-8").splitlines()]
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

draw = random.Random(os.environ["HARNESS_SEED"])
rows = [{"id": item["id"], "answer": draw.choice(WORDS)} for item in items]
(TARGET / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
