"""The data home: one folder that holds everything a Pawl service keeps (PAWL_HOME, default `var/`).

Standard library only, so that the bootstrap and worker processes can use it before Django is set up.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import sqlite3
import stat
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

REPO = Path(__file__).resolve().parent.parent
FOLDERS = ("artifacts", "runtimes", "repos", "hidden", "run", "keys", "logs", "static")
_MARKER = "home.json"
_SOCKET_PATH_MAX = 90  # a unix socket's path has at most 107 bytes; names inside the folder need some of them


def home() -> Path:
    """The data home's path (absolute); it may not exist yet."""
    return Path(os.environ.get("PAWL_HOME") or REPO / "var").expanduser().absolute()


def folder(name: str) -> Path:
    """One of the data home's folders (`artifacts`, `hidden`, `run`, ...), made with mode 0700 when missing.

    Raises ValueError for a name that is not in FOLDERS.
    """
    if name not in FOLDERS:
        raise ValueError(f"The data home has no folder {name!r}; use one of {', '.join(FOLDERS)}.")
    return _private_folder(home() / name)


def database_file() -> Path:
    """The SQLite file used when DATABASE_URL is not set."""
    return home() / "db.sqlite3"


def ensure_folders() -> Path:
    """Make the data home and its folders, readable by this account alone; return the home."""
    root = _private_folder(home())
    for name in FOLDERS:
        _private_folder(root / name)
    return root


def secret_key() -> str:
    """The service's signing secret: made once, kept in the data home with mode 0600."""
    return _read_or_create(_private_folder(home()) / "secret_key", lambda: secrets.token_urlsafe(50)).strip()


def init_home(*, demo: bool) -> None:
    """Make the data home on first use and record for good whether it is a demonstration's.

    A home that already has a record, or a database, keeps what it is: real data never becomes a
    demonstration.
    """
    root = ensure_folders()
    is_new = not _has_tables(database_file())
    record = {"created": datetime.now(UTC).isoformat(timespec="seconds"), "demo": demo and is_new}
    _read_or_create(root / _MARKER, lambda: json.dumps(record) + "\n")


def is_demo() -> bool:
    """Whether this data home was made by `demo`. Never true of a database that lives outside the home."""
    if os.environ.get("DATABASE_URL", "").strip():
        return False
    try:
        record = json.loads((home() / _MARKER).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    return isinstance(record, dict) and record.get("demo") is True


def socket_folder() -> Path:
    """A private folder with a path short enough for unix sockets: `run/`, or one under the temp folder.

    Raises PermissionError when the folder under the temp folder belongs to someone else.
    """
    inside = home() / "run"
    if len(os.fsencode(inside)) <= _SOCKET_PATH_MAX:
        return _private_folder(inside)
    name = f"pawl-{os.getuid()}-{hashlib.sha256(os.fsencode(home())).hexdigest()[:12]}"
    outside = _private_folder(Path(tempfile.gettempdir()) / name)
    found = outside.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(f"{outside} is not a private folder of this account; remove it and try again.")
    return outside


def _has_tables(database: Path) -> bool:
    """Whether the file is more than what merely opening it leaves behind; a file that is no database counts."""
    if not database.exists():
        return False
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True)
        ) as connection:
            return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
    except sqlite3.Error:
        return True


def _private_folder(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _read_or_create(path: Path, content: Callable[[], str]) -> str:
    """Return the file's text; the first of several racing processes writes it whole (by a link)."""
    if not path.exists():
        fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as handle:
                handle.write(content())
                handle.flush()
                os.fsync(handle.fileno())
            os.link(temporary, path)
        except FileExistsError:
            return path.read_text(encoding="utf-8")  # another process was first; its content counts
        finally:
            os.unlink(temporary)
    return path.read_text(encoding="utf-8")
