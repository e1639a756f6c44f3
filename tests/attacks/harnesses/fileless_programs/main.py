"""Starts programs that lie in no file system of ours, or where nothing may be started."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
libc = ctypes.CDLL(None, use_errno=True)
NUMBERS = {"x86_64": (319, 447), "aarch64": (279, 447)}[os.uname().machine]
for number in NUMBERS:
    if libc.syscall(number, b"x", 0) >= 0:
        print("BREACH memory file", number)
shutil.copyfile("/usr/bin/true", "/out/program")
os.chmod("/out/program", 0o6755)
try:
    subprocess.run(["/out/program"], check=False)
    print("BREACH started from /out")
except PermissionError:
    pass
