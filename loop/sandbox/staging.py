"""Puts everything a sandbox will see under one opaque folder of the supervisor's own mount namespace.

Why not bind the sources themselves: a root worker gives its uid away before bubblewrap starts, and the sources
may lie under a private home; and /proc/self/mountinfo would tell the program the host's paths.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from loop.sandbox.namespaces import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC, mount
from loop.sandbox.protocol import Order

STAGE_CANDIDATES = ("/mnt", "/media", "/srv", "/tmp")
STAGE_MIB = 512
COPY_LIMIT = 64 << 20
COPY_ENTRIES = 20_000
NOT_COPIED = frozenset({".git", "__pycache__"})


class StagingError(Exception):
    """Something the run needs cannot be put in place; the message says what."""


def stage(order: Order, uid: int) -> dict[str, str]:
    """Mounts the stage and returns {path inside: staged path}; "/out" is an empty tmpfs owned by `uid`.

    Raises StagingError or OSError. Call it in a private mount namespace only.
    """
    handles = {target: _open(source) for target, source in {**order.copies, **order.layers}.items()}
    relay = _open(order.relay)
    socket = _open(order.socket) if order.socket else None
    base = next((path for path in STAGE_CANDIDATES if Path(path).is_dir()), None)
    if base is None:
        raise StagingError(f"None of {', '.join(STAGE_CANDIDATES)} exists; make an empty folder /mnt.")
    mount("tmpfs", base, "tmpfs", MS_NOSUID | MS_NODEV, f"size={STAGE_MIB}m,mode=0755")
    staged: dict[str, str] = {}
    for index, (target, handle) in enumerate(handles.items()):
        staged[target] = f"{base}/{index}"
        source = Path(f"/proc/self/fd/{handle}")
        if target in order.copies and is_small(source):
            copy_tree(source, Path(staged[target]))
        else:
            _share(handle, staged[target], f"{base}/empty")
    if socket is not None:
        staged["/run/relay.py"], staged["/run/llm.sock"] = f"{base}/relay", f"{base}/socket"
        copy_tree(Path(f"/proc/self/fd/{relay}"), Path(staged["/run/relay.py"]))
        _bind_socket(socket, staged["/run/llm.sock"], uid)
    staged["/out"] = f"{base}/out"
    _mount_out(order, staged["/out"], uid)
    os.chdir("/")
    return staged


def _open(source: str) -> int:
    try:
        return os.open(source, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise StagingError(f"{source} cannot be opened for the sandbox ({error.strerror}).") from error


def is_small(source: Path) -> bool:
    """Whether a file or tree is copied for each run (and not shared)."""
    if not source.is_dir():
        return source.stat().st_size <= COPY_LIMIT
    size = entries = 0
    for folder, names, files in os.walk(source):
        names[:] = [name for name in names if name not in NOT_COPIED]
        entries += len(names) + len(files)
        size += sum(os.lstat(os.path.join(folder, name)).st_size for name in files)
        if size > COPY_LIMIT or entries > COPY_ENTRIES:
            return False
    return True


def copy_tree(source: Path, target: Path) -> None:
    """A world-readable copy: links stay links, special files are refused, `NOT_COPIED` is left out."""
    if not source.is_dir():
        _copy_file(source, target)
        return
    target.mkdir(mode=0o755)
    with os.scandir(source) as entries:
        for entry in entries:
            inner = target / entry.name
            if entry.name in NOT_COPIED:
                continue
            if entry.is_symlink():
                inner.symlink_to(os.readlink(entry.path))
            elif entry.is_dir():
                copy_tree(Path(entry.path), inner)
            else:
                _copy_file(Path(entry.path), inner)


def _copy_file(source: Path, target: Path) -> None:
    status = source.stat()
    if not stat.S_ISREG(status.st_mode):
        raise StagingError(f"{source.name} is neither a file, a folder nor a link; remove it.")
    shutil.copyfile(source, target)
    target.chmod(0o755 if status.st_mode & 0o100 else 0o644)


def _share(handle: int, target: str, empty: str) -> None:
    """Shows the folder open at `handle` at `target`; through an overlay, so that no host path shows."""
    os.makedirs(empty, exist_ok=True)
    os.mkdir(target)
    os.fchdir(handle)
    try:
        mount("none", target, "overlay", MS_RDONLY | MS_NOSUID | MS_NODEV, f"lowerdir=.:{empty}")
    except OSError:
        # No overlay on this kernel or file system: the same view, but /proc/self/mountinfo names its path.
        mount(f"/proc/self/fd/{handle}", target, None, MS_BIND | MS_REC)


def _bind_socket(handle: int, target: str, uid: int) -> None:
    if os.geteuid() == 0 and uid != 0:
        os.chown(f"/proc/self/fd/{handle}", uid, -1)
    Path(target).touch()
    mount(f"/proc/self/fd/{handle}", target, None, MS_BIND)


def _mount_out(order: Order, target: str, uid: int) -> None:
    limits = order.limits
    options = {
        "size": f"{limits.out_mib}m",
        "nr_inodes": str(limits.out_files + 1),
        "mode": "0700",
        "uid": str(uid),
        "gid": str(uid),
    }
    os.mkdir(target)
    mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, _join(options))


def _join(options: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in options.items())
