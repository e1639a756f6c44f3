"""Runs a task's own prepare.py once, and keeps what it made: public data, hidden data, labels, models."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from governance.digests import tree_digest
from loop.errors import TaskError

PREPARE_TIMEOUT_S = 3600
DONE = ".prepared"


def prepared_data(folder: Path, store: Path) -> Path:
    """Where the data of a task lie: the folder itself, or what its prepare.py made below `store`.

    The result is kept by the digest of the whole folder, so that a changed task is prepared anew. prepare.py is
    operator's code and runs unsandboxed. Safe when two processes ask at once. Raises TaskError where it fails.
    """
    if not (folder / "prepare.py").is_file():
        return folder
    target = store / tree_digest(folder)
    if (target / DONE).is_file():
        return target
    store.mkdir(parents=True, exist_ok=True)
    with (store / f"{target.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not (target / DONE).is_file():
            _prepare(folder, target)
    return target


def _prepare(folder: Path, target: Path) -> None:
    building = Path(tempfile.mkdtemp(prefix="building-", dir=target.parent))
    try:
        command = [sys.executable, str(folder.resolve() / "prepare.py"), "--out", str(building)]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=PREPARE_TIMEOUT_S, check=False
        )
        if done.returncode != 0:
            words = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise TaskError(f"{folder / 'prepare.py'} failed: {words[-1]}")
        (building / DONE).touch()
        shutil.rmtree(target, ignore_errors=True)
        building.rename(target)
    except subprocess.TimeoutExpired:
        raise TaskError(f"{folder / 'prepare.py'} did not end within {PREPARE_TIMEOUT_S} s.") from None
    finally:
        shutil.rmtree(building, ignore_errors=True)
