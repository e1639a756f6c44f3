"""Ships compiled code beside an innocent source; the tree's digest does not cover it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
try:
    from importlib import import_module

    import_module("innocent")
    print("BREACH planted code ran")
except ImportError:
    pass
