"""Reads where its mounts come from, the kernel's command line and name."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import TARGETS, answer

answer()
for name in ("self/mountinfo", "self/cgroup", "cmdline", "version", "self/status", "partitions"):
    try:
        text = Path("/proc", name).read_text()
    except OSError:
        continue
    print(name, text[:3000])
    if str(Path(TARGETS["secrets"][0]).parents[4]) in text:
        print("BREACH a host path in", name)
