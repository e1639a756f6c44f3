"""Making receipts: the entry of a pointer's last move, proven under the newest checkpoint."""

from __future__ import annotations

from typing import Any

from governance.assurance.bundle_parts import write_proof
from governance.assurance.receipt import RECEIPT_FORMAT
from governance.audit.checkpoints import latest, make_checkpoint
from governance.audit.stored_tree import StoredTree
from governance.errors import BadInput
from governance.models import AuditEntry


def make_receipt(key: str) -> dict[str, Any]:
    """The receipt of the last move of a pointer, for governance.assurance.receipt.check_receipt.

    Raises BadInput when the log has no such move, AuditError when its entry is not signed yet and cannot be now.
    """
    moves = AuditEntry.objects.filter(
        action="pointer.move", outcome="allowed", object_type="pointer", object_id=key
    )
    entry = moves.order_by("-seq").first()
    if entry is None:
        raise BadInput(f"The log has no move of {key}, so nothing is live there.")
    checkpoint = latest()
    if checkpoint is None or checkpoint.size <= entry.seq:
        checkpoint = make_checkpoint()
    proof = write_proof(StoredTree(checkpoint.size), entry.seq, checkpoint.note.encode())
    return {"format": RECEIPT_FORMAT, "entry": entry.body, "proof": proof.decode()}
