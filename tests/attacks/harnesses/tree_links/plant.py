"""What this attack puts into its own tree before it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def plant(tree: Path, targets: dict[str, Any]) -> None:
    """Links to everything worth reading: by its path, by a path that climbs, and by way of another link."""
    for number, secret in enumerate(targets["secrets"]):
        (tree / f"link{number}").symlink_to(secret)
        (tree / f"link{number}up").symlink_to(os.path.relpath(secret, tree))
        (tree / f"link{number}twice").symlink_to(f"link{number}")
    for name, target in (
        ("root", "/proc/1/root"),
        ("above", "../.."),
        ("self", "."),
        ("host", "/etc/passwd"),
    ):
        (tree / f"link_{name}").symlink_to(target)
