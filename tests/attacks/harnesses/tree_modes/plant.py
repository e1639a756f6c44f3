"""What this attack puts into its own tree before it runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any


def plant(tree: Path, targets: dict[str, Any]) -> None:
    """Copies of `id` that would run as their owner."""
    for name, mode in (("helper", 0o6755), ("shared", 0o7777)):
        shutil.copyfile("/usr/bin/id", tree / name)
        (tree / name).chmod(mode)
