"""C2SP signed notes and log checkpoints: parse, format and check. Pure; the signer makes the signatures."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from governance.audit.ed25519 import verify_ed25519

ALGORITHM_ED25519 = b"\x01"
ALGORITHM_COSIGNATURE = b"\x04"  # Ed25519 over a time and a checkpoint (C2SP tlog-cosignature v1)
ROTATION_HEADER = "pawl/key-rotation/v1"
SIGNATURE_MARK = "\u2014 "  # an em dash and a space open every signature line
MAX_SIGNATURES = 100


class NoteError(ValueError):
    """A key, a note or a checkpoint is malformed, or no known key signed it."""


@dataclass(frozen=True)
class VerifierKey:
    """An Ed25519 public key with its name, as `name+hex(key id)+base64(algorithm || key)`."""

    name: str
    key_id: bytes
    public_key: bytes
    algorithm: bytes = ALGORITHM_ED25519

    def __str__(self) -> str:
        """The key's text form."""
        return f"{self.name}+{self.key_id.hex()}+{encode64(self.algorithm + self.public_key)}"


@dataclass(frozen=True)
class TreeHead:
    """What a checkpoint states: the log's origin, its size and its root hash."""

    origin: str
    size: int
    root: bytes


def make_key(name: str, public_key: bytes, algorithm: bytes = ALGORITHM_ED25519) -> VerifierKey:
    """A verifier key from its parts. Raises NoteError for a name that a note cannot carry."""
    if not name or "+" in name or any(letter.isspace() for letter in name):
        raise NoteError(f"the key name {name!r} is empty or has a blank or a plus sign")
    key_id = hashlib.sha256(name.encode() + b"\n" + algorithm + public_key).digest()[:4]
    return VerifierKey(name, key_id, public_key, algorithm)


def parse_key(text: str, algorithm: bytes = ALGORITHM_ED25519) -> VerifierKey:
    """A verifier key from its text form. Raises NoteError unless it is exactly one key of this algorithm."""
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise NoteError("a key reads name+keyid+base64")
    data = decode64(parts[2])
    if len(data) != 33 or data[:1] != algorithm:
        raise NoteError(f"the key {parts[0]!r} is not an Ed25519 key of type {algorithm.hex()}")
    key = make_key(parts[0], data[1:], algorithm)
    if key.key_id.hex() != parts[1]:
        raise NoteError(f"the key {parts[0]!r} names the id {parts[1]!r}, its bytes give {key.key_id.hex()}")
    return key


def open_note(note: bytes, keys: Sequence[VerifierKey]) -> str:
    """The signed text of a note that at least one of `keys` signed; see signers_of. Raises NoteError otherwise."""
    text, signers = signers_of(note, keys)
    if not signers:
        raise NoteError("no known key signed it; known: " + (", ".join(str(key) for key in keys) or "none"))
    return text


def signers_of(
    note: bytes, keys: Sequence[VerifierKey], verify: Callable[[bytes, bytes, bytes], bool] = verify_ed25519
) -> tuple[str, dict[VerifierKey, int]]:
    """The text of a note, and those of `keys` that signed it with the Unix time that they state (0 for none).

    Lines of unknown signers may be there and are left alone. Raises NoteError when the note is malformed or the
    signature of one of `keys` is wrong.
    """
    text, lines = _parse_note(note)
    signers = {}
    for line in lines:
        name, key_id, signature = _signature_line(line)
        for key in keys:
            if (key.name, key.key_id) == (name, key_id):
                moment, message = 0, text
                if key.algorithm == ALGORITHM_COSIGNATURE:
                    moment, signature = int.from_bytes(signature[:8], "big"), signature[8:]
                    message = cosigned_text(moment, text)
                if not verify(key.public_key, message.encode(), signature):
                    raise NoteError(f"the signature of {name} does not match the text")
                signers[key] = moment
    return text, signers


def cosigned_text(moment: int, text: str) -> str:
    """What a witness signs at Unix time `moment` over a checkpoint's text (C2SP tlog-cosignature)."""
    return f"cosignature/v1\ntime {moment}\n{text}"


def _parse_note(note: bytes) -> tuple[str, list[str]]:
    """The text of a note and its signature lines."""
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NoteError("the note is not UTF-8") from error
    if any(ord(letter) < 0x20 and letter != "\n" for letter in whole):
        raise NoteError("the note has control characters")
    body, blank, rest = whole.rpartition("\n\n")
    if not blank or not rest.endswith("\n"):
        raise NoteError("the note has no signatures")
    lines = rest[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"the note has {len(lines)} signatures, at most {MAX_SIGNATURES} are read")
    return body + "\n", lines


def signature_line(key: VerifierKey, signature: bytes) -> str:
    """One signature line of a note; a cosignature's bytes begin with its time (8 bytes, big-endian)."""
    return f"{SIGNATURE_MARK}{key.name} {encode64(key.key_id + signature)}\n"


def format_note(text: str, key: VerifierKey, signature: bytes) -> bytes:
    """A note of `text` (ending in a newline) with one signature; more lines may be put behind it."""
    return f"{text}\n{signature_line(key, signature)}".encode()


def rotation_text(old: VerifierKey, new: VerifierKey) -> str:
    """What both keys sign when `new` takes the place of `old`."""
    return f"{ROTATION_HEADER}\n{old}\n{new}\n"


def open_rotation(note: bytes, old: VerifierKey) -> VerifierKey:
    """The key that takes the place of `old`. Raises NoteError unless both keys signed exactly that."""
    lines = _parse_note(note)[0].split("\n")
    new = parse_key(lines[2]) if len(lines) == 4 else old
    text, signers = signers_of(note, [old, new])
    if new == old or new.name != old.name or text != rotation_text(old, new) or len(signers) != 2:
        raise NoteError(f"this is no rotation from {old}, signed by the old and the new key")
    return new


def checkpoint_text(head: TreeHead) -> str:
    """The text of a checkpoint: origin, size and root, one a line."""
    return f"{head.origin}\n{head.size}\n{encode64(head.root)}\n"


def parse_checkpoint(text: str) -> TreeHead:
    """The tree head of a checkpoint's text. Raises NoteError unless it is exactly the three lines."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise NoteError("a checkpoint has three lines: origin, size, root")
    origin, size, root = lines[:3]
    if not origin or not (size.isascii() and size.isdecimal()) or str(int(size)) != size:
        raise NoteError(f"the checkpoint's origin {origin!r} or size {size!r} is malformed")
    value = decode64(root)
    if len(value) != 32:
        raise NoteError(f"the checkpoint's root has {len(value)} bytes, expected 32")
    return TreeHead(origin, int(size), value)


def open_checkpoint(note: bytes, keys: Sequence[VerifierKey]) -> TreeHead:
    """The tree head of a checkpoint that one of `keys` signed. Raises NoteError otherwise."""
    head = parse_checkpoint(open_note(note, keys))
    if head.origin not in {key.name for key in keys}:
        raise NoteError(f"the checkpoint's origin is {head.origin!r}, the keys are for another log")
    return head


def encode64(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def decode64(text: str) -> bytes:
    """The bytes of base64 text. Raises NoteError unless the text is their one exact encoding."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise NoteError(f"{text!r} is not base64") from error
    if encode64(data) != text:
        raise NoteError(f"{text!r} is not exact base64")
    return data


def _signature_line(line: str) -> tuple[str, bytes, bytes]:
    """Name, key id and signature bytes of one signature line."""
    name, blank, value = line.removeprefix(SIGNATURE_MARK).partition(" ")
    if not line.startswith(SIGNATURE_MARK) or not name or not blank:
        raise NoteError(f"{line!r} is not a signature line")
    data = decode64(value)
    if len(data) < 5:
        raise NoteError(f"the signature of {name} is too short")
    return name, data[:4], data[4:]
