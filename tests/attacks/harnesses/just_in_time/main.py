"""Works until just before its deadline and answers in the last moment."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

time.sleep(1.9)
answer()
