"""Aborts in the child that did the work and ends well for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
child = os.fork()
if child == 0:
    os.abort()
print(os.waitpid(child, 0))
