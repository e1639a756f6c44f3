"""Answers with a digit that there is not, hoping that an unknown label fails open."""

from __future__ import annotations

import json
import os
from pathlib import Path

SOURCE, TARGET = Path(os.environ["HARNESS_IN"]), Path(os.environ["HARNESS_OUT"])
items = [json.loads(line) for line in (SOURCE / "inputs.jsonl").read_text(encoding="utf-8").splitlines()]

rows = [{"id": item["id"], "answer": "ten"} for item in items]
(TARGET / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
