"""Sends every signal to everything it can name, and lives on to say so."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import TARGETS, answer

answer()
signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGKILL, signal.SIGSTOP):
    for pid in [1, os.getppid(), TARGETS["judge"], -TARGETS["judge"]]:
        try:
            os.kill(pid, number)
        except OSError:
            continue
try:
    os.killpg(TARGETS["judge"], signal.SIGKILL)
    print("BREACH signalled the judge's group")
except OSError:
    pass
