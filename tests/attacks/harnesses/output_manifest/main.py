"""Leaves a manifest that names files of the host as its outputs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import TARGETS, answer

answer()
paths = [*TARGETS["secrets"], "../../../../etc/shadow", "/etc/shadow", "file:///etc/shadow"]
for name in ("manifest.json", "index.json", "outputs.json", "MANIFEST"):
    Path("/out", name).write_text(json.dumps({"outputs": paths, "predictions.jsonl": paths[0]}))
