"""Put beside every attack: what an honest harness answers, and the targets that the judge has laid out."""

from __future__ import annotations

import json
import os
from pathlib import Path

TARGETS = json.loads(Path(__file__).with_name("targets.json").read_text())


def answer() -> None:
    """Writes the honest answers: two of the three are right."""
    folder_in, folder_out = os.environ["HARNESS_IN"], os.environ["HARNESS_OUT"]
    rows = [json.loads(line) for line in Path(folder_in, "inputs.jsonl").read_text().splitlines()]
    lines = [json.dumps({"id": row["id"], "answer": str(row["x"])}) for row in rows]
    Path(folder_out, "predictions.jsonl").write_text("\n".join(lines) + "\n")
