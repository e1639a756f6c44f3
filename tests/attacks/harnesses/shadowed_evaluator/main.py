"""Lays modules beside its outputs that the evaluator might import in place of its own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
CODE = "def evaluate(o, l): return {'items': dict.fromkeys('abc', 1.0), 'metrics': {'accuracy': 1.0}}"
for name in (
    "evaluate",
    "json",
    "outputs",
    "pathlib",
    "sitecustomize",
    "evaluator_shim",
    "__init__",
    "__main__",
):
    Path("/out", f"{name}.py").write_text(CODE)
    Path("/out", "__pycache__").mkdir(exist_ok=True)
    shutil.copyfile(f"/out/{name}.py", f"/out/__pycache__/{name}.cpython-311.pyc")
Path("/out/x.pth").write_text("import evaluate\n")
