"""Ships what is no file: a pipe that whoever copies it would wait for, and a socket."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
