"""The signer: holds the log's key and its own memory, signs only what grew out of what it signed before.

It takes no entries and no database, only a size, a root and a proof, and imports no Django: it runs as a process of its
own, under its own user (signer_process.py), or in process over the same files and the same lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance.audit.lease import LoggedMove, lease_of, lease_text
from governance.audit.notes import (
    ALGORITHM_ED25519,
    TreeHead,
    VerifierKey,
    checkpoint_text,
    decode64,
    encode64,
    format_note,
    make_key,
    open_rotation,
    rotation_text,
    signature_line,
)
from governance.audit.tree import EMPTY_ROOT, leaf_hash, verify_consistency, verify_inclusion
from governance.errors import AuditError

KEY_FILE = "audit-signer.key"
NEXT_FILE = "audit-signer.next"  # the key that a rotation in progress will bring
STATE_FILE = "audit-signer.json"
LOCK_FILE = "audit-signer.lock"
KEY_PREFIX = "PRIVATE+KEY"


class SigningRefused(AuditError):
    """What was handed in is not of the log that was signed before: somebody rewrote it, or asks for what it lacks."""


class Signer(Protocol):
    """What the log asks of a signer."""

    def key(self) -> VerifierKey:
        """The public key. Raises AuditError when there is none."""

    def last(self) -> TreeHead:
        """What was signed last (size 0 before the first). Raises AuditError when it is not known."""

    def sign(self, size: int, root: bytes, proof: Sequence[bytes]) -> bytes:
        """The signed checkpoint. Raises SigningRefused unless `proof` ties `root` to what was signed last."""

    def sign_lease(self, move: LoggedMove, nonce: str, not_after: datetime) -> bytes:
        """The signed serving lease. Raises SigningRefused unless the signed log has the move, or for over 30 s."""

    def check_ready(self) -> None:
        """Raises AuditError unless key and memory can be used and belong together."""

    def prepare_rotation(self) -> bytes:
        """The note by which the old key hands over to a new one, signed by both; the same until it is finished."""

    def finish_rotation(self, entry: bytes, index: int, proof: Sequence[bytes]) -> VerifierKey:
        """Change to the new key, which is returned. Raises SigningRefused unless the signed log has the rotation."""


class FileSigner:
    """A signer whose key and memory are files of one private folder."""

    def __init__(self, folder: Path) -> None:
        """Use `folder` (made by whoever keeps the data home); nothing is read or written yet."""
        self.folder = folder

    def create(self) -> VerifierKey:
        """Make a key and an empty memory, once. Raises AuditError when there is a key, or anything was signed."""
        with locked(self.folder / LOCK_FILE):
            if self.exists() or ((self.folder / STATE_FILE).exists() and self.last().size):
                raise AuditError(
                    f"A signer exists in {self.folder}; a log keeps the signer that it began with."
                )
            name = f"pawl/log-{secrets.token_hex(4)}"
            self._remember(TreeHead(name, 0, EMPTY_ROOT))
            return self._put_key(KEY_FILE, name, Ed25519PrivateKey.generate())

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
        with locked(self.folder / LOCK_FILE):
            self.check_ready()
            key, last = self.key(), self.last()
            if not verify_consistency(last.size, size, proof, last.root, root):
                raise SigningRefused(
                    f"The log at {size} entries does not grow out of the {last.size} entries signed before; "
                    "nothing was signed. Compare the database with an earlier export before doing anything else."
                )
            head = TreeHead(key.name, size, root)
            note = self._signed(checkpoint_text(head), with_next=(self.folder / NEXT_FILE).exists())
            self._remember(head)
        return note

    def sign_lease(self, move: LoggedMove, nonce: str, not_after: datetime) -> bytes:
        """The signed serving lease; the signer's own clock says how far `not_after` may lie ahead.

        Raises SigningRefused unless a checkpoint of its own shows the move, or for more than 30 seconds.
        """
        with locked(self.folder / LOCK_FILE):
            self.check_ready()
            rotating = (self.folder / NEXT_FILE).exists()
            try:
                lease = lease_of(move, [self.key()], nonce, not_after, datetime.now(UTC))
            except ValueError as error:
                raise SigningRefused(f"The signer gives no lease: {error}.") from error
            return self._signed(lease_text(lease), with_next=rotating)

    def prepare_rotation(self) -> bytes:
        """The note by which the old key hands over to a new one, signed by both; the same until it is finished."""
        with locked(self.folder / LOCK_FILE):
            self.check_ready()
            key = self.key()
            if not (self.folder / NEXT_FILE).exists():
                self._put_key(NEXT_FILE, key.name, Ed25519PrivateKey.generate())
            return self._signed(rotation_text(key, self._secret(NEXT_FILE)[0]), with_next=True)

    def finish_rotation(self, entry: bytes, index: int, proof: Sequence[bytes]) -> VerifierKey:
        """Change to the new key and destroy the old one.

        Raises SigningRefused unless `entry` is number `index` of the log signed last and holds the rotation's note.
        """
        with locked(self.folder / LOCK_FILE):
            self.check_ready()
            last, (new, _) = self.last(), self._secret(NEXT_FILE)
            logged = json.loads(entry)["detail"]["note"].encode()
            if not verify_inclusion(leaf_hash(entry), index, last.size, proof, last.root):
                raise SigningRefused(
                    f"Entry {index} is not in the log of {last.size} entries that was signed last."
                )
            if open_rotation(logged, self.key()) != new:
                raise SigningRefused("The entry hands over to another key than the one that was prepared.")
            os.replace(self.folder / NEXT_FILE, self.folder / KEY_FILE)
        return new

    def _signed(self, text: str, with_next: bool) -> bytes:
        key, secret = self._secret()
        note = format_note(text, key, secret.sign(text.encode()))
        if with_next:
            key, secret = self._secret(NEXT_FILE)
            note += signature_line(key, secret.sign(text.encode())).encode()
        return note

    def _put_key(self, file: str, name: str, secret: Ed25519PrivateKey) -> VerifierKey:
        key = make_key(name, secret.public_key().public_bytes_raw())
        material = encode64(ALGORITHM_ED25519 + secret.private_bytes_raw())
        put_private(self.folder / file, f"{KEY_PREFIX}+{key.name}+{key.key_id.hex()}+{material}\n")
        return key

    def _secret(self, file: str = KEY_FILE) -> tuple[VerifierKey, Ed25519PrivateKey]:
        path = self.folder / file
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
        put_private(self.folder / STATE_FILE, json.dumps(state, sort_keys=True) + "\n")


def put_private(path: Path, text: str) -> None:
    """Put a private file on disk, whole or not at all: temporary file, fsync, rename, fsync of the folder."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(descriptor, "w", encoding="ascii") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, made in a private folder when missing. Raises AuditError where that cannot be."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = path.open("w")
    except OSError as error:
        raise AuditError(f"The folder {path.parent} cannot be used: {error}.") from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
