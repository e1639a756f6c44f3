"""Asks for every old and new call that mounts, swaps, loads, traces files or sets clocks."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer

answer()
libc = ctypes.CDLL(None, use_errno=True)
NUMBERS = {
    "x86_64": {"chroot": 161, "pivot_root": 155, "umount2": 166, "swapon": 167, "reboot": 169, "sethostname": 170,
               "init_module": 175, "quotactl": 179, "acct": 163, "syslog": 103, "clock_settime": 227,
               "settimeofday": 164, "fanotify_init": 300, "open_by_handle_at": 304, "name_to_handle_at": 303,
               "kcmp": 312, "finit_module": 313, "kexec_file_load": 320, "modify_ldt": 154, "iopl": 172},
    "aarch64": {"chroot": 51, "pivot_root": 41, "umount2": 39, "swapon": 224, "reboot": 142, "sethostname": 161,
                "init_module": 105, "quotactl": 60, "acct": 89, "syslog": 116, "clock_settime": 112,
                "settimeofday": 170, "fanotify_init": 262, "open_by_handle_at": 265, "name_to_handle_at": 264,
                "kcmp": 272, "finit_module": 273, "kexec_file_load": 294},
}  # fmt: skip
NEW = {"open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
       "process_madvise": 440, "mount_setattr": 442, "memfd_secret": 447, "open_tree_attr": 467}  # fmt: skip
for name, number in (NUMBERS[os.uname().machine] | NEW).items():
    refused = libc.syscall(number, b"/\0", 1, 0, 0, 0) == -1 and ctypes.get_errno() in (1, 38)
    if not refused:
        print("BREACH", name, ctypes.get_errno())
