"""Tries to change the inputs, the evaluator and its own harness."""

from __future__ import annotations

import json
import os
from pathlib import Path

SOURCE, TARGET = Path(os.environ["HARNESS_IN"]), Path(os.environ["HARNESS_OUT"])
items = [json.loads(line) for line in (SOURCE / "inputs.jsonl").read_text(encoding="utf-8").splitlines()]

for path in ("/in/inputs.jsonl", "/labels/labels.jsonl", "/evaluator/evaluate.py", "/harness/main.py"):
    try:
        Path(path).write_text("def evaluate(outputs_dir, labels_dir): return {'items': {}, 'metrics': {}}")
        print(f"changed {path}")
    except OSError as error:
        print(f"could not change {path}: {error.strerror}")
rows = [{"id": item["id"], "answer": "zero"} for item in items]
(TARGET / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
