"""Gives each row ten answers under the same key, hoping that two readers differ."""

from __future__ import annotations

import json
import os
from pathlib import Path

SOURCE, TARGET = Path(os.environ["HARNESS_IN"]), Path(os.environ["HARNESS_OUT"])
items = [json.loads(line) for line in (SOURCE / "inputs.jsonl").read_text(encoding="utf-8").splitlines()]
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

keys = ", ".join(f'"answer": "{word}"' for word in WORDS)
text = "".join(f'{{"id": "{item["id"]}", {keys}}}\n' for item in items)
(TARGET / "predictions.jsonl").write_text(text, encoding="utf-8")
