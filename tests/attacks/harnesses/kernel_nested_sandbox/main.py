"""Starts sandboxes of its own, as the host does, to be root and to mount in there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
BINDS = ("--ro-bind", "/", "/", "--dev", "/dev")
for command in (
    ("bwrap", "--unshare-all", *BINDS, "id", "-u"),
    ("bwrap", "--unshare-user", "--uid", "0", *BINDS, "id", "-u"),
    ("bwrap", *BINDS, "--proc", "/proc", "id", "-u"),
    ("unshare", "--user", "--map-root-user", "--mount", "id", "-u"),
    ("unshare", "--user", "--map-root-user", "--net", "id", "-u"),
    ("nsenter", "--target", "1", "--all", "id", "-u"),
    ("setpriv", "--reuid=0", "id", "-u"),
    ("chroot", "/", "id", "-u"),
):
    try:
        said = subprocess.run(
            ["/usr/bin/env", *command], capture_output=True, text=True, check=False, timeout=2
        )
    except subprocess.TimeoutExpired:
        continue
    if said.stdout.strip().isdigit():
        print("BREACH", *command[:3], said.stdout.strip())
