"""Temporary folders that do not outlive a killed process for long: the next one made on the host removes them.

A folder's name says which process made it. What lies in them may be labels or the opened hidden set, so a worker
that was killed must not leave them behind for good.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loop.processes import is_dead, this_process

PREFIX = "pawl"


@contextmanager
def scratch(kind: str, parent: Path | None = None) -> Iterator[Path]:
    """A private folder below `parent` (default: the system's temporary folder), gone after the block.

    `kind` is a short word without dashes. Folders of dead processes beside it are removed first.
    """
    root = parent or Path(tempfile.gettempdir())
    sweep(root)
    _, pid, start = this_process()
    with tempfile.TemporaryDirectory(prefix=f"{_ours()}{pid}-{start}-{kind}-", dir=root) as folder:
        yield Path(folder)


def sweep(root: Path) -> None:
    """Remove the scratch folders below `root` that processes of this host made and left behind when they died."""
    host = this_process()[0]
    for folder in root.glob(f"{_ours()}*"):
        pid, start, *_ = folder.name.removeprefix(_ours()).split("-")
        if is_dead(host, int(pid), start):
            shutil.rmtree(folder, ignore_errors=True)


def _ours() -> str:
    """How the names begin: containers that share a temporary folder number their processes each for itself."""
    host = hashlib.sha256(this_process()[0].encode()).hexdigest()[:8]
    return f".{PREFIX}-{host}-"
