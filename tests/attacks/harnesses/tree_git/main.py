"""Ships a repository of its own: hooks, filters and a monitor."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()

if Path(__file__).with_name(".git").exists():
    print("BREACH the repository is in sight")
