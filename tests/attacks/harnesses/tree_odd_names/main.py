"""Ships files whose names are line ends, escapes, no text, or the same but for their case."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
