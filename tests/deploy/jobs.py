"""Jobs for the tests of the embedded services."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def write(path: str, text: str) -> None:
    """Leave a trace."""
    Path(path).write_text(text)


def block(path: str) -> None:
    """Write this process's id, then wait to be killed."""
    Path(path).write_text(str(os.getpid()))
    signal.pause()
