"""What this attack puts into its own tree before it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

NAMES = (
    "a\nb.py",
    "\x1b[2J",
    "\u202efdp.py",
    "Main.py",
    "MAIN.PY",
    "-rf",
    "a b",
    "con",
    "a\\b",
    "'; rm -rf x",
)


def plant(tree: Path, targets: dict[str, Any]) -> None:
    """One file for each name."""
    for name in NAMES:
        (tree / name).write_text("")
    with open(os.path.join(os.fsencode(tree), b"\xff\xfe.py"), "wb"):
        pass
