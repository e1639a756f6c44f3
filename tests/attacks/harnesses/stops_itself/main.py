"""Stops itself and its whole group, so that no signal handler can end it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
os.kill(0, signal.SIGSTOP)
