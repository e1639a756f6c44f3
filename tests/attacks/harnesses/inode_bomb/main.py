"""Makes empty files until kernel memory runs out."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
for folder in range(1000):
    os.mkdir(f"/scratch/{folder}")
    for name in range(1000):
        os.close(os.open(f"/scratch/{folder}/{name}", os.O_CREAT))
