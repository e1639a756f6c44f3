"""Runs a task's own prepare.py once, and keeps what it made: public data, labels and models; hidden data apart."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from governance.digests import tree_digest
from loop.errors import TaskError

PREPARE_TIMEOUT_S = 3600
DONE = ".prepared"
HIDDEN = "hidden"
PREPARED = "prepared"


@dataclass(frozen=True, slots=True)
class Prepared:
    """Where a task's data lie: `data` holds public/, labels/ and models/; `hidden` holds inputs/ and labels/."""

    data: Path
    hidden: Path


def prepared_data(folder: Path, store: Path) -> Path:
    """Where the data of a task lie, hidden set left out: the folder itself, or what its prepare.py made below `store`.

    The result is kept by the digest of the whole folder, so that a changed task is prepared anew. prepare.py is
    operator's code and runs unsandboxed. Safe when two processes ask at once. Raises TaskError where it fails.
    """
    return _prepared(folder, store, None).data


def prepared_whole(folder: Path, store: Path, hidden_store: Path) -> Prepared:
    """As `prepared_data`, and the hidden set too; what prepare.py made of that never lies outside `hidden_store`."""
    return _prepared(folder, store, hidden_store)


def _prepared(folder: Path, store: Path, hidden_store: Path | None) -> Prepared:
    if not (folder / "prepare.py").is_file():
        return Prepared(folder, folder / HIDDEN)
    digest = tree_digest(folder)
    made = Prepared(
        store / digest, hidden_store / PREPARED / digest if hidden_store else store / digest / HIDDEN
    )
    store.mkdir(parents=True, exist_ok=True)
    with _locked(store / f"{digest}.lock"):
        if not (made.data / DONE).is_file() or (hidden_store is not None and not made.hidden.is_dir()):
            _prepare(folder, made, hidden_store)
    return made


def _prepare(folder: Path, made: Prepared, hidden_store: Path | None) -> None:
    """Both halves are put in place only when prepare.py has ended well, the hidden one first."""
    workplace = made.hidden.parent if hidden_store else made.data.parent
    workplace.mkdir(mode=0o700, parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix="building-", dir=workplace))
    arriving = Path(tempfile.mkdtemp(prefix="arriving-", dir=made.data.parent))
    try:
        _run(folder, building)
        hidden = building / HIDDEN
        if hidden_store is not None and hidden.is_dir():
            shutil.rmtree(made.hidden, ignore_errors=True)
            hidden.rename(made.hidden)
        shutil.rmtree(hidden, ignore_errors=True)
        (building / DONE).touch()
        shutil.rmtree(made.data, ignore_errors=True)
        shutil.move(building, arriving / "data")  # the hidden store may be another file system
        (arriving / "data").rename(made.data)
    finally:
        shutil.rmtree(building, ignore_errors=True)
        shutil.rmtree(arriving, ignore_errors=True)


def _run(folder: Path, out: Path) -> None:
    command = [sys.executable, str(folder.resolve() / "prepare.py"), "--out", str(out)]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=PREPARE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise TaskError(f"{folder / 'prepare.py'} did not end within {PREPARE_TIMEOUT_S} s.") from None
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise TaskError(f"{folder / 'prepare.py'} failed: {words[-1]}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
