"""Runs every program that carries a set-uid bit and looks for rights of its own."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
status = dict(
    line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line
)
if (
    int(status["CapEff"], 16)
    or int(status["CapPrm"], 16)
    or status["NoNewPrivs"] != "1"
    or status["Seccomp"] != "2"
):
    print("BREACH rights", status["CapEff"], status["NoNewPrivs"], status["Seccomp"])
programs = []
for folder in ("/usr/bin", "/usr/sbin", "/usr/lib/openssh"):
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        mode = os.lstat(f"{folder}/{name}").st_mode
        if stat.S_ISREG(mode) and mode & 0o6000:
            programs.append(f"{folder}/{name}")
for program in programs:
    with suppress(subprocess.TimeoutExpired, OSError):
        command = [program, "-c", "id"]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=0.1, check=False
        )
        if b"uid=0" in done.stdout:
            print("BREACH root by", program)
