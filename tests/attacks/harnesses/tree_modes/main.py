"""Ships programs with set-uid and set-gid bits, and looks whether they give it the rights of their owner."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
for name in ("helper", "shared"):
    helper = Path(__file__).with_name(name)
    if helper.stat().st_mode & 0o6000:
        print("BREACH the bits came along", name)
    if os.access(helper, os.X_OK):
        said = subprocess.run([helper, "-u"], capture_output=True, text=True, check=False).stdout
        print("BREACH runs as root" if said.strip() == "0" else "runs as itself")
