"""What this attack puts into its own tree before it runs."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any


def plant(tree: Path, targets: dict[str, Any]) -> None:
    """A pipe without a writer, and a socket that nobody serves."""
    os.mkfifo(tree / "pipe.py")
    with socket.socket(socket.AF_UNIX) as left:
        here = os.getcwd()
        os.chdir(tree)
        left.bind("socket.py")
        os.chdir(here)
