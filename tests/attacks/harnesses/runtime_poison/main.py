"""Plants code where a later Python would load it."""

from __future__ import annotations

import glob
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer  # noqa: E402

answer()
code = "print('owned')"
folders = (
    glob.glob("/venv/lib/python*/site-packages")
    + glob.glob("/python/lib/python*")
    + glob.glob("/usr/lib/python*")
)
for folder in [*folders, "/harness", "/in", "/scratch", "/out"]:
    for name in ("sitecustomize.py", "usercustomize.py", "evil.pth", "conftest.py", "outputs.py", "json.py"):
        try:
            Path(folder, name).write_text(code)
            if folder not in ("/scratch", "/out"):
                print("BREACH wrote", folder, name)
        except OSError:
            continue
