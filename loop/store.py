"""Content-addressed artifacts: folders known by their tree digest, written once, checked when read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from governance.digests import tree_digest
from loop.errors import TaskError
from loop.scratch import scratch


class Store:
    """A folder of folders, each named by its own tree digest. Safe for several writers at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, source: Path) -> str:
        """Copy the folder `source` in and return its digest. Putting the same content twice changes nothing."""
        digest = tree_digest(source)
        target = self.root / digest
        if target.is_dir():
            return digest
        self.root.mkdir(parents=True, exist_ok=True)
        with scratch("incoming", self.root) as staging:
            shutil.copytree(source, staging / "tree", symlinks=True)
            try:
                os.rename(staging / "tree", target)
            except OSError:
                if not target.is_dir():
                    raise
        return digest

    def path(self, digest: str) -> Path:
        """The folder with this digest. Raises TaskError when it is absent or its content has changed."""
        folder = self.root / digest
        if not folder.is_dir():
            raise TaskError(f"Artifact {digest[:12]} is not in {self.root}; restore it from a backup.")
        if tree_digest(folder) != digest:
            raise TaskError(
                f"Artifact {digest[:12]} in {self.root} was changed on disk; restore it from a backup."
            )
        return folder
