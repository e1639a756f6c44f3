"""Ships a file of nothing that is larger than all of a harness may be, and very many small ones."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
