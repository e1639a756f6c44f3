"""The signer: holds the log's key and its own memory, signs only what grew out of what it signed before.

Its interface takes no entries and no database, only a size, a root and a proof, so that it can become a process of its
own, under its own user, without a change to those who call it.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance.audit.notes import (
    ALGORITHM_ED25519,
    TreeHead,
    VerifierKey,
    checkpoint_text,
    decode64,
    encode64,
    format_note,
    make_key,
)
from governance.audit.tree import EMPTY_ROOT, verify_consistency
from governance.errors import AuditError

KEY_FILE = "audit-signer.key"
STATE_FILE = "audit-signer.json"
LOCK_FILE = "audit-signer.lock"
KEY_PREFIX = "PRIVATE+KEY"


class SigningRefused(AuditError):
    """What was handed in does not grow out of what was signed before: somebody rewrote the log."""


class Signer(Protocol):
    """What the log asks of a signer."""

    def key(self) -> VerifierKey:
        """The public key. Raises AuditError when there is none."""

    def last(self) -> TreeHead:
        """What was signed last (size 0 before the first). Raises AuditError when it is not known."""

    def sign(self, size: int, root: bytes, proof: Sequence[bytes]) -> bytes:
        """The signed checkpoint. Raises SigningRefused unless `proof` ties `root` to what was signed last."""


class FileSigner:
    """A signer whose key and memory are files of one private folder."""

    def __init__(self, folder: Path) -> None:
        """Use `folder` (made by whoever keeps the data home); nothing is read or written yet."""
        self.folder = folder

    def create(self) -> VerifierKey:
        """Make a key and an empty memory, once. Raises AuditError when there is a key, or anything was signed."""
        with self._locked():
            if self.exists() or ((self.folder / STATE_FILE).exists() and self.last().size):
                raise AuditError(
                    f"A signer exists in {self.folder}; a log keeps the signer that it began with."
                )
            secret = Ed25519PrivateKey.generate()
            key = make_key(f"pawl/log-{secrets.token_hex(4)}", secret.public_key().public_bytes_raw())
            material = encode64(ALGORITHM_ED25519 + secret.private_bytes_raw())
            self._remember(TreeHead(key.name, 0, EMPTY_ROOT))
            self._put(KEY_FILE, f"{KEY_PREFIX}+{key.name}+{key.key_id.hex()}+{material}\n")
        return key

    def exists(self) -> bool:
        """Whether this folder has a key."""
        return (self.folder / KEY_FILE).exists()

    def key(self) -> VerifierKey:
        """The public key. Raises AuditError when there is none that can be used."""
        return self._secret()[0]

    def last(self) -> TreeHead:
        """What was signed last. Raises AuditError when the memory is missing or damaged."""
        path = self.folder / STATE_FILE
        try:
            state = json.loads(path.read_bytes())
            return TreeHead(str(state["origin"]), int(state["size"]), bytes.fromhex(state["root"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AuditError(
                f"The signer's memory {path} cannot be read ({error}); restore it, for without it nothing is signed."
            ) from error

    def check_ready(self) -> None:
        """Raises AuditError unless key and memory can be used and belong together."""
        key, last = self.key(), self.last()
        if key.name != last.origin:
            raise AuditError(
                f"The signer's key is of {key.name}, its memory of {last.origin}; restore the right one."
            )

    def sign(self, size: int, root: bytes, proof: Sequence[bytes]) -> bytes:
        """The signed checkpoint of `size` entries under `root` (32 bytes).

        The memory is on disk before the signature is handed out. Raises SigningRefused unless `proof` (RFC 6962
        consistency) ties `root` to what was signed last.
        """
        with self._locked():
            self.check_ready()
            key, secret = self._secret()
            last = self.last()
            if not verify_consistency(last.size, size, proof, last.root, root):
                raise SigningRefused(
                    f"The log at {size} entries does not grow out of the {last.size} entries signed before; "
                    "nothing was signed. Compare the database with an earlier export before doing anything else."
                )
            head = TreeHead(key.name, size, root)
            text = checkpoint_text(head)
            note = format_note(text, key, secret.sign(text.encode()))
            self._remember(head)
        return note

    def _secret(self) -> tuple[VerifierKey, Ed25519PrivateKey]:
        path = self.folder / KEY_FILE
        try:
            if path.stat().st_mode & 0o077:
                raise AuditError(f"{path} can be read by others; run chmod 600 on it, or replace the key.")
            prefix, word, name, key_id, material = path.read_text(encoding="ascii").strip().split("+", 4)
            data = decode64(material)
            secret = Ed25519PrivateKey.from_private_bytes(data[1:])
            key = make_key(name, secret.public_key().public_bytes_raw())
        except (OSError, ValueError) as error:
            raise AuditError(
                f"The log's key {path} cannot be used ({error}); `manage.py setup` makes one for a new log, "
                "an existing log needs its own key back."
            ) from error
        if f"{prefix}+{word}" != KEY_PREFIX or data[:1] != ALGORITHM_ED25519 or key.key_id.hex() != key_id:
            raise AuditError(
                f"{path} is not an Ed25519 signing key in note format; restore the log's own key."
            )
        return key, secret

    def _remember(self, head: TreeHead) -> None:
        state = {"origin": head.origin, "size": head.size, "root": head.root.hex()}
        self._put(STATE_FILE, json.dumps(state, sort_keys=True) + "\n")

    def _put(self, name: str, text: str) -> None:
        """Put a private file on disk, whole or not at all: temporary file, fsync, rename, fsync of the folder."""
        descriptor, temporary = tempfile.mkstemp(dir=self.folder, prefix=f".{name}-")
        with os.fdopen(descriptor, "w", encoding="ascii") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, self.folder / name)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = (self.folder / LOCK_FILE).open("w")
        except OSError as error:
            raise AuditError(f"The signer's folder {self.folder} cannot be used: {error}.") from error
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
