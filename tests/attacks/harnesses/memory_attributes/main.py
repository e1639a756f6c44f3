"""Keeps memory in extended attributes of scratch files, beside the size of the file system."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
kept = 0
for folder in ("/dev/shm", "/scratch", "/out"):
    for index in range(2000):
        try:
            os.close(os.open(f"{folder}/{index}", os.O_CREAT))
            for name in range(16):
                os.setxattr(f"{folder}/{index}", f"user.{name}", bytes(60_000))
                kept += 60_000
        except OSError as error:
            print(folder, index, error.errno)
            break
print("kept", kept >> 20, "MiB")
if kept > 700 << 20:
    print("BREACH kept", kept)
