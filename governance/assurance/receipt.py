"""The receipt of a move, and the lease on it: what serving checks, offline, before it loads a release. Pure.

{"format", "entry": the canonical text of the entry that moved the pointer, "proof": a C2SP tlog-proof with its signed
checkpoint}. Whoever has the log's key can check it; nobody without that key can make one. A receipt shows what was made
live; the lease (governance/audit/lease.py), that it may be served now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from governance.assurance.bundle_parts import Refused, parse_proof
from governance.audit.canonical import parse_canonical
from governance.audit.entries import shape_problem
from governance.audit.lease import ServingLease, open_lease
from governance.audit.notes import NoteError, VerifierKey, open_checkpoint
from governance.audit.tree import leaf_hash, verify_inclusion
from governance.errors import AuditError

RECEIPT_FORMAT = "pawl-receipt/1"


class ReceiptInvalid(AuditError):
    """The receipt does not show that the log made this release live."""


@dataclass(frozen=True)
class Moved:
    """What a valid receipt shows: the pointer, what it was moved to, its generation, and where the log has it."""

    key: str
    digest: str
    generation: int
    seq: int
    size: int


def check_receipt(receipt: Mapping[str, Any], keys: Sequence[VerifierKey], key: str, digest: str) -> Moved:
    """What the receipt shows. Raises ReceiptInvalid unless it shows that the signed log moved `key` to `digest`.

    Keep the generation: a valid receipt with a lower one than the last is an old one, shown again.
    """
    try:
        if receipt["format"] != RECEIPT_FORMAT:
            raise ReceiptInvalid(
                f"The receipt's format is {receipt['format']!r}, expected {RECEIPT_FORMAT!r}."
            )
        body, proof = str(receipt["entry"]).encode(), parse_proof(str(receipt["proof"]).encode(), "the proof")
        head = open_checkpoint(proof.checkpoint, keys)
        entry = parse_canonical(body)
        if problem := shape_problem(entry):
            raise ReceiptInvalid(f"The receipt's entry is malformed: {problem}.")
        if not verify_inclusion(leaf_hash(body), proof.index, head.size, proof.hashes, head.root):
            raise ReceiptInvalid(f"The receipt's entry is not number {proof.index} of the signed log.")
        moved = Moved(
            entry["object"]["id"], entry["after"], int(entry["detail"]["generation"]), proof.index, head.size
        )
    except (NoteError, Refused, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ReceiptInvalid(f"The receipt cannot be checked: {error}.") from error
    if entry["seq"] != proof.index or (entry["action"], entry["outcome"]) != ("pointer.move", "allowed"):
        raise ReceiptInvalid("The receipt's entry is not of a move that was carried out.")
    if (moved.key, moved.digest) != (key, digest):
        raise ReceiptInvalid(
            f"The receipt is of {moved.key} at {moved.digest[:12]}, not of {key} at {digest[:12]}."
        )
    return moved


class LeaseInvalid(AuditError):
    """The lease does not allow this release to be served now."""


def check_lease(
    note: str, keys: Sequence[VerifierKey], moved: Moved, nonce: str, now: datetime
) -> ServingLease:
    """The lease on what a valid receipt showed. Raises LeaseInvalid unless it is that move's, and allows it at `now`.

    `nonce` is what was sent along when it was asked for, so that no earlier lease can be shown again. Besides
    `not_after` count 30 s by a clock of your own from the moment of asking: no wall clock can then lengthen a lease.
    """
    try:
        lease = open_lease(note.encode(), keys)
    except (NoteError, UnicodeEncodeError) as error:
        raise LeaseInvalid(f"The lease cannot be checked: {error}.") from error
    if lease.nonce != nonce:
        raise LeaseInvalid("The lease answers another request than this one; it is an old one, shown again.")
    told = (lease.key, lease.digest, lease.generation, lease.seq)
    if told != (moved.key, moved.digest, moved.generation, moved.seq):
        raise LeaseInvalid(
            f"The lease is of {lease.key} at {lease.digest[:12]} (entry {lease.seq}), the receipt of {moved.key} at "
            f"{moved.digest[:12]} (entry {moved.seq})."
        )
    if lease.not_after <= now:
        raise LeaseInvalid(
            f"The lease ended at {lease.not_after:%H:%M:%S} UTC, and it is {now:%H:%M:%S} here; set both clocks right."
        )
    return lease
