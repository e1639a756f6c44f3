"""Reads the named outputs of a dead sandbox as hostile data.

Only call this when every process of the sandbox is gone: then nothing can change between the checks.
The trusted side gives the names; whatever else lies in the folder is ignored.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK = 1 << 20
READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Refused(Exception):
    """An output is not a plain file within its limits; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Collected:
    """One output that was copied out. `size` in bytes, `sha256` in hex."""

    name: str
    size: int
    sha256: str


def collect(source: Path, names: tuple[str, ...], target: int, cap: int) -> list[Collected]:
    """Copies each of `names` that exists in `source` into the folder open at fd `target`.

    `cap` is the largest size of one file in bytes. A missing file is left out of the result.
    Raises Refused for anything but a regular file with one link, of at most `cap` bytes.
    """
    folder = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = (_collect_one(folder, name, target, cap) for name in names)
        return [item for item in found if item is not None]
    finally:
        os.close(folder)


def _collect_one(folder: int, name: str, target: int, cap: int) -> Collected | None:
    handle = open_output(folder, name, cap)
    if handle is None:
        return None
    try:
        return copy(_blocks(handle), name, target, cap)
    finally:
        os.close(handle)


def open_output(folder: int, name: str, cap: int) -> int | None:
    """A descriptor of the output `name` in the folder open at fd `folder`; None where there is none.

    Raises Refused for anything but a regular file with one link, of at most `cap` bytes.
    """
    try:
        _check(os.stat(name, dir_fd=folder, follow_symlinks=False), name, cap)
        handle = os.open(name, READ_FLAGS, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refused(f"The output {name} cannot be read ({error.strerror}).") from error
    try:
        _check(os.fstat(handle), name, cap)
    except Refused:
        os.close(handle)
        raise
    return handle


def _blocks(handle: int) -> Iterator[bytes]:
    while block := os.read(handle, BLOCK):
        yield block


def _check(status: os.stat_result, name: str, cap: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Refused(f"The output {name} is not a regular file.")
    if status.st_nlink != 1:
        raise Refused(f"The output {name} has {status.st_nlink} hard links; it must have one.")
    if status.st_size > cap:
        raise Refused(f"The output {name} has {status.st_size} bytes; at most {cap} are allowed.")


def copy(blocks: Iterable[bytes], name: str, target: int, cap: int) -> Collected:
    """Writes the bytes to a new file `name` in the folder open at fd `target`. Raises Refused past `cap` bytes."""
    out = os.open(name, WRITE_FLAGS, 0o600, dir_fd=target)
    digest, size = hashlib.sha256(), 0
    try:
        for block in blocks:
            size += len(block)
            if size > cap:
                raise Refused(f"The output {name} has more than {cap} bytes.")
            digest.update(block)
            while block:
                block = block[os.write(out, block) :]
    finally:
        os.close(out)
    return Collected(name, size, digest.hexdigest())
