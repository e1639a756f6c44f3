"""Serving leases: for how long a release may be served, as a note that the log's signer signs. Pure.

A lease is eight lines under the log's own key: the header, the log's origin, the pointer, the release's digest, the
generation and the entry of the move that made it live, the nonce of whoever asked, and when the lease ends. Its
first line and its number of lines keep it apart from a checkpoint (three lines), a rotation and a cosignature, so that
none of them can be read as another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from governance.audit.canonical import parse_canonical
from governance.audit.entries import shape_problem
from governance.audit.notes import NoteError, VerifierKey, open_checkpoint, open_note
from governance.audit.tree import leaf_hash, verify_inclusion

LEASE_HEADER = "pawl/serving-lease/v1"
LEASE = timedelta(seconds=30)
NONCE = re.compile(r"[0-9a-f]{32}")
_FIELDS = 8


@dataclass(frozen=True, slots=True)
class ServingLease:
    """What a lease says: this log made `digest` live under `key`, and it may be served until `not_after` (UTC)."""

    origin: str
    key: str
    digest: str
    generation: int
    seq: int
    nonce: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class LoggedMove:
    """A move as the signed log has it: the entry's canonical text, its number, the path to the checkpoint's root."""

    entry: bytes
    index: int
    proof: tuple[bytes, ...]
    checkpoint: bytes


def lease_text(lease: ServingLease) -> str:
    """What is signed."""
    ends = lease.not_after.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    parts = (lease.origin, lease.key, lease.digest, lease.generation, lease.seq, lease.nonce, ends)
    return "".join(f"{part}\n" for part in (LEASE_HEADER, *parts))


def parse_lease(text: str) -> ServingLease:
    """The lease of a text. Raises NoteError unless the text is exactly what lease_text writes."""
    lines = text.split("\n")
    if len(lines) != _FIELDS + 1 or lines[0] != LEASE_HEADER:
        raise NoteError(f"a serving lease has {_FIELDS} lines, the first {LEASE_HEADER!r}")
    _, origin, key, digest, generation, seq, nonce, ends, _ = lines
    try:
        lease = ServingLease(
            origin, key, digest, int(generation), int(seq), nonce, datetime.fromisoformat(ends)
        )
    except ValueError as error:
        raise NoteError(f"the serving lease is malformed: {error}") from error
    if lease.not_after.tzinfo is None or lease_text(lease) != text:
        raise NoteError("the serving lease is not written in its one exact form")
    return lease


def open_lease(note: bytes, keys: Sequence[VerifierKey]) -> ServingLease:
    """The lease that one of `keys` signed. Raises NoteError otherwise."""
    lease = parse_lease(open_note(note, keys))
    if lease.origin not in {key.name for key in keys}:
        raise NoteError(f"the lease's origin is {lease.origin!r}, the keys are for another log")
    return lease


def lease_of(
    move: LoggedMove, keys: Sequence[VerifierKey], nonce: str, not_after: datetime, now: datetime
) -> ServingLease:
    """The lease that the signer may sign at `now`: for a move that its own log has, and for 30 seconds at most.

    Raises NoteError, with what is wrong, for anything else.
    """
    if not NONCE.fullmatch(nonce):
        raise NoteError("the nonce is not 32 hexadecimal digits")
    if not_after.tzinfo is None or not now < not_after <= now + LEASE:
        raise NoteError(f"a lease ends at most {LEASE.seconds} seconds from now, and not in the past")
    head = open_checkpoint(move.checkpoint, keys)
    if not verify_inclusion(leaf_hash(move.entry), move.index, head.size, move.proof, head.root):
        raise NoteError(f"the entry is not number {move.index} of the signed log of {head.size} entries")
    entry = parse_canonical(move.entry)
    if problem := shape_problem(entry):
        raise NoteError(f"the entry is malformed: {problem}")
    if (entry["action"], entry["outcome"]) != ("pointer.move", "allowed"):
        raise NoteError("the entry is not of a move that was carried out")
    generation = int(entry["detail"]["generation"])
    return ServingLease(
        head.origin, entry["object"]["id"], entry["after"], generation, move.index, nonce, not_after
    )
