"""Secrets planted where no candidate may look. What is planted where is derived from one key in the hidden store.

The key never leaves that store, so the verifier knows every token and the loop none. A token is random to whoever
has not the key, and differs from one data home to the next.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from loop.detectors.exhibit import Honeytoken
from loop.scratch import scratch

FILE = "honeytoken.txt"
KEY = "honeytokens.key"
PUBLIC_LABELS, HIDDEN_LABELS, KEYS, STORE = "public labels", "hidden labels", "folder of keys", "hidden store"
LETTERS = 24


def all_tokens() -> tuple[Honeytoken, ...]:
    """Every token of this data home. For the verifier alone: it reads the key. Empty when none was ever planted."""
    key = _known_key()
    places = (PUBLIC_LABELS, HIDDEN_LABELS, KEYS, STORE)
    return tuple(_token(key, place) for place in places) if key else ()


def plant_decoys() -> None:
    """Put a token into the folder of keys and one into the hidden store. Doing it again changes nothing."""
    for place, folder in ((KEYS, Path(settings.PAWL_HOME) / "keys"), (STORE, _hidden_root())):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        plant(folder, place)


def plant(folder: Path, place: str) -> None:
    """Write the token of `place` into a folder."""
    path = folder / FILE
    path.unlink(missing_ok=True)
    _write_private(path, _token(_key(), place).token + "\n")


@contextmanager
def planted(folder: Path, place: str) -> Iterator[Path]:
    """A copy of a folder with the token of `place` in each of its folders; gone after the block."""
    with scratch("labels") as own:
        copy = own / "copy"
        shutil.copytree(folder, copy)
        for base in (copy, *sorted(path for path in copy.rglob("*") if path.is_dir())):
            (base / FILE).write_text(_token(_key(), place).token + "\n", encoding="ascii")
        yield copy


def _token(key: bytes, place: str) -> Honeytoken:
    return Honeytoken(place, hmac.new(key, place.encode(), hashlib.sha256).hexdigest()[:LETTERS])


def _known_key() -> bytes:
    try:
        return (_hidden_root() / KEY).read_bytes()
    except FileNotFoundError:
        return b""


def _key() -> bytes:
    """The key, made on first use. Two installers that start at once agree on one."""
    root = _hidden_root()
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    staged = root / f".{KEY}.{secrets.token_hex(8)}"
    if not (root / KEY).exists():
        _write_private(staged, secrets.token_hex(32))
        try:
            os.link(staged, root / KEY)
        except FileExistsError:
            pass
        finally:
            staged.unlink()
    return (root / KEY).read_bytes()


def _hidden_root() -> Path:
    return Path(getattr(settings, "PAWL_HIDDEN", None) or Path(settings.PAWL_HOME) / "hidden")


def _write_private(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text)
