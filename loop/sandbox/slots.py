"""One kernel uid per concurrent sandbox of a root worker, so that no two runs can touch each other."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

FIRST_UID = 61000
SLOTS = 128
FOLDER = Path("/run/pawl-sandbox")


class NoFreeSlot(Exception):
    """All uids are in use, or their lock folder is not root's own; the message says which."""


def take_uid() -> int:
    """A uid that no other sandbox on this host has, until this process ends. Root only.

    Raises NoFreeSlot.
    """
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = FOLDER.lstat()
    if status.st_uid != 0 or status.st_mode & 0o022:
        raise NoFreeSlot(f"{FOLDER} must belong to root and be writable by root alone.")
    for slot in range(SLOTS):
        handle = os.open(
            FOLDER / f"{slot}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        return FIRST_UID + slot
    raise NoFreeSlot(f"All {SLOTS} sandbox uids are in use on this host; run fewer sandboxes at once.")
