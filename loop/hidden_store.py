"""Where hidden sets are kept and how they get there. The installer puts one in; loop.hidden alone opens one.

The store is `hidden/` of the data home or, in production, the folder that PAWL_HIDDEN names: a mount of its own that
only the account of the verify worker can enter. Everything that is ever made of hidden data lies below it.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from governance.digests import tree_digest
from loop import honeytokens
from loop.errors import TaskError
from loop.scratch import scratch
from loop.store import Store

SCRATCH = "scratch"
SALT = "salt"


def root() -> Path:
    """The hidden store's folder, made with mode 0700 when missing. Raises TaskError where this account may not."""
    configured = getattr(settings, "PAWL_HIDDEN", None)
    folder = Path(configured) if configured else Path(settings.PAWL_HOME) / "hidden"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.listdir(folder)
    except OSError as error:
        raise TaskError(
            f"This account cannot enter the hidden store {folder} ({error.strerror}); use the verify worker's account."
        ) from None
    return folder


def sets() -> Store:
    """The stored sets by commitment."""
    return Store(root())


def holds(commitment: str) -> bool:
    """Whether this account sees the set with this commitment."""
    try:
        return (root() / commitment).is_dir()
    except TaskError:
        return False


def put(hidden: Path) -> str:
    """Put a hidden set away with a random salt, so that its digest commits to it without giving it away.

    The same set again gets the commitment that it had.
    """
    index = root() / "known" / tree_digest(hidden)
    if index.is_file():
        return index.read_text(encoding="ascii")
    with workplace() as folder:
        copy = folder / "hidden"
        shutil.copytree(hidden, copy)
        honeytokens.plant(copy / "labels", honeytokens.HIDDEN_LABELS)
        (copy / SALT).write_text(secrets.token_hex(32), encoding="ascii")
        commitment = sets().put(copy)
    index.parent.mkdir(mode=0o700, exist_ok=True)
    index.write_text(commitment, encoding="ascii")
    return commitment


@contextmanager
def workplace() -> Iterator[Path]:
    """A private folder inside the store, gone after the block; what killed processes left behind goes with it."""
    parent = root() / SCRATCH
    parent.mkdir(mode=0o700, exist_ok=True)
    with scratch("hidden", parent) as folder:
        yield folder
