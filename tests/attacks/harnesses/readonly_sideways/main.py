"""Changes inputs, harness, runtime and system by every way but writing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
PLACES = "/in/inputs.jsonl /harness/main.py /venv/pyvenv.cfg /usr/bin/python3 /etc/ld.so.cache /python/bin"
for path in PLACES.split():
    for change, *arguments in (
        (os.chmod, path, 0o777),
        (os.utime, path, (0, 0)),
        (os.truncate, path, 0),
        (os.rename, path, path + "x"),
        (os.unlink, path),
        (os.symlink, "/scratch", path + "x"),
        (os.link, path, "/scratch/link"),
        (os.setxattr, path, "user.x", b"x"),
        (os.open, "/proc/self/root" + path, os.O_RDWR),
    ):
        try:
            change(*arguments)
            print("BREACH changed", path, change)
        except OSError:
            continue
