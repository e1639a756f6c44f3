"""Digests: canonical JSON, file and tree digests. Pure apart from reading the tree that is named."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import rfc8785

from governance.errors import BadInput


def sha256_hex(data: bytes) -> str:
    """SHA-256 of `data` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> bytes:
    """RFC 8785 canonical JSON of `value`. Raises BadInput for what JSON cannot hold (NaN, big integers)."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, ValueError) as error:
        raise BadInput(f"A value cannot be written as canonical JSON: {error}.") from error


def json_digest(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of `value`."""
    return sha256_hex(canonical_json(value))


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of one file's bytes, read in blocks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def files_digest(files: Mapping[str, Sequence[str]]) -> str:
    """Digest of a tree given as {posix path: (mode, SHA-256 hex of its bytes)}; mode is 'file', 'exec' or 'link'.

    Paths are sorted by their UTF-8 bytes; each part is length-prefixed, so no two trees collide by framing.
    """
    outer = hashlib.sha256(b"pawl-tree-v1\0")
    for path in sorted(files, key=lambda name: name.encode()):
        mode, sha256 = files[path]
        for part in (path.encode(), mode.encode(), bytes.fromhex(sha256)):
            outer.update(len(part).to_bytes(8, "big"))
            outer.update(part)
    return outer.hexdigest()


def file_list(entries: Mapping[str, tuple[str, bytes]]) -> dict[str, list[str]]:
    """{path: [mode, SHA-256 hex]} of {path: (mode, bytes)}: what a version's manifest keeps as `files`."""
    return {path: [mode, sha256_hex(data)] for path, (mode, data) in sorted(entries.items())}


def entries_digest(entries: Mapping[str, tuple[str, bytes]]) -> str:
    """Digest of a tree given as {posix path: (mode, bytes)}; mode is 'file', 'exec' or 'link'."""
    return files_digest(file_list(entries))


def tree_paths(root: Path) -> Iterator[tuple[str, str, Path]]:
    """Each (posix path, mode, real path) of a folder. Raises BadInput for special files.

    Symbolic links count by their target text and are never followed; empty folders do not count;
    `.git` and `__pycache__` folders are not part of a tree.
    """
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in {".git", "__pycache__"}]
        linked = [name for name in names if (Path(folder) / name).is_symlink()]
        names[:] = [name for name in names if name not in linked]
        for name in files + linked:
            path = Path(folder) / name
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                mode = "link"
            elif stat.S_ISREG(status.st_mode):
                mode = "exec" if status.st_mode & 0o100 else "file"
            else:
                raise BadInput(f"{path} is neither a file, a folder nor a link; remove it from the tree.")
            yield path.relative_to(root).as_posix(), mode, path


def read_tree(root: Path) -> dict[str, tuple[str, bytes]]:
    """{posix path: (mode, bytes)} of a small folder, whole in memory. Raises BadInput for special files."""
    return {
        key: (mode, os.readlink(path).encode() if mode == "link" else path.read_bytes())
        for key, mode, path in tree_paths(root)
    }


def tree_files(root: Path) -> dict[str, list[str]]:
    """{posix path: [mode, SHA-256 hex]} of a folder of any size: a version manifest's `files`."""
    return {
        key: [mode, sha256_hex(os.readlink(path).encode()) if mode == "link" else file_digest(path)]
        for key, mode, path in tree_paths(root)
    }


def tree_digest(root: Path) -> str:
    """SHA-256 (hex) of a folder: every path with its mode and bytes. Raises BadInput for special files."""
    return files_digest(tree_files(root))
