"""What a harness tree may be: one set of limits and one wording, whoever brings the tree.

Agents hold a tree as texts, the repository as (mode, bytes), a rollout as a folder; each hands over paths and sizes.
Pure, but for `check_folder`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from loop.errors import HarnessError

MAIN = "main.py"
NOT_PART_OF_A_TREE = frozenset({".git", "__pycache__"})
SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./")
Content = TypeVar("Content")


@dataclass(frozen=True, slots=True)
class TreeLimits:
    """Sizes in bytes; `path` in characters."""

    files: int
    file_bytes: int
    tree_bytes: int
    path: int = 120

    def words(self) -> str:
        """The limits, for a sentence."""
        return f"{self.files} files of {_size(self.file_bytes)} each and {_size(self.tree_bytes)} together"


LIMITS = TreeLimits(files=500, file_bytes=256 << 10, tree_bytes=5 << 20)


def check_tree(sizes: Mapping[str, int], limits: TreeLimits = LIMITS) -> None:
    """Raise HarnessError unless {path: bytes} has main.py, safe relative paths and sizes within the limits."""
    if MAIN not in sizes:
        raise HarnessError(f"The harness has no {MAIN} at its top; its program must start there.")
    for path in sizes:
        check_path(path, limits)
        if folders := [str(folder) for folder in PurePosixPath(path).parents if str(folder) in sizes]:
            raise HarnessError(
                f"{folders[0]} is a file of the harness and a folder of it too; rename one of them."
            )
    for path, size in sizes.items():
        check_size(path, size, limits)
    total = sum(sizes.values())
    if len(sizes) > limits.files or total > limits.tree_bytes:
        raise HarnessError(
            f"The harness is too large ({len(sizes)} files, {_size(total)}); it may have {limits.words()}."
        )


def check_size(path: str, size: int, limits: TreeLimits = LIMITS) -> None:
    """Raise HarnessError unless one file of `size` bytes is within the limits."""
    if size > limits.file_bytes:
        raise HarnessError(
            f"The harness is too large ({path} alone has {_size(size)}); it may have {limits.words()}."
        )


def check_path(path: str, limits: TreeLimits = LIMITS) -> str:
    """`path` itself when it names a file inside the tree. Raises HarnessError otherwise."""
    if not path or len(path) > limits.path or not SAFE.issuperset(path):
        raise HarnessError(
            f"{path[:80]!r} is not a path of letters, digits and ._-/ up to {limits.path} characters."
        )
    if any(part in {"", *NOT_PART_OF_A_TREE} or part.startswith(".") for part in path.split("/")):
        raise HarnessError(
            f"The path {path!r} leaves the harness tree or is hidden (or a cache of bytecode), which is not "
            "allowed; name a plain path inside."
        )
    return path


def with_edits(tree: Mapping[str, Content], edits: Mapping[str, Content | None]) -> dict[str, Content]:
    """The tree after edits; None removes a file."""
    kept = {path: content for path, content in tree.items() if edits.get(path, content) is not None}
    return kept | {path: content for path, content in edits.items() if content is not None}


def check_folder(folder: Path, limits: TreeLimits = LIMITS) -> None:
    """Raise HarnessError unless the files below `folder` are a harness: plain files, and links to such, no more."""
    main = folder / MAIN
    if not main.is_file() or main.is_symlink():
        raise HarnessError(f"The harness has no {MAIN} at its top; its program must start there.")
    sizes: dict[str, int] = {}
    for path in files_below(folder, limits):
        status = path.lstat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
            raise HarnessError("The harness holds something that is neither a file, a folder nor a link.")
        sizes[path.relative_to(folder).as_posix()] = status.st_size
    check_tree(sizes, limits)


def files_below(folder: Path, limits: TreeLimits = LIMITS) -> Iterator[Path]:
    """All files and links of a harness's folder, links to folders too; none is followed.

    Raises HarnessError for folders too deep or too many: empty ones are no part of a tree, and walking and copying
    them would wear out whoever does.
    """
    count = 0
    for base, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if name not in NOT_PART_OF_A_TREE)
        count += len(names)
        if count > limits.files:
            raise HarnessError(f"The harness has more than {limits.files} folders; remove the empty ones.")
        for name in names:
            check_path(Path(base, name).relative_to(folder).as_posix(), limits)
        linked = [name for name in names if Path(base, name).is_symlink()]
        yield from (Path(base, name) for name in sorted(files + linked))


def _size(count: int) -> str:
    if count >= 1 << 20:
        return f"{count / (1 << 20):.3g} MiB"
    return f"{count / 1024:.3g} KiB" if count >= 1024 else f"{count} bytes"
