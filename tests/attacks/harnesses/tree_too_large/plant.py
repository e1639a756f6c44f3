"""What this attack puts into its own tree before it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def plant(tree: Path, targets: dict[str, Any]) -> None:
    """Sparse, so that it costs nobody but a careless reader anything."""
    with open(tree / "weights.bin", "wb") as file:
        os.truncate(file.fileno(), 64 << 20)
    for number in range(600):
        (tree / f"part{number}").touch()
