"""Ships attributes, modules, ignore lists and a link to a repository, which git reads by itself."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
