"""Runs a program that must not outlive the process that started it (Linux parent-death signal).

Run as a file by an isolated Python, so that no code runs between fork and exec in a process with threads:
`subprocess.Popen(child.command(["redis-server", ...]))`. The signal follows the *thread* that called Popen.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def command(argv: list[str]) -> list[str]:
    """The command line that runs `argv` so that the kernel kills it when the calling process dies."""
    return [sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(os.getpid()), *argv]


def die_with_parent(parent: int) -> None:
    """Ask the kernel for SIGKILL when `parent` dies; end at once when it already has.

    Raises OSError when the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
