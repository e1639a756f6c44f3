"""What this attack puts into its own tree before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def plant(tree: Path, targets: dict[str, Any]) -> None:
    """The program is the file with the keys."""
    (tree / "main.py").unlink()
    (tree / "main.py").symlink_to(targets["secrets"][-1])
