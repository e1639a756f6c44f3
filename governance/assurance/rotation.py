"""Changing the log's key: an entry that carries a note signed by the old key and by the new one."""

from __future__ import annotations

from typing import Any

from governance.actions.base import act
from governance.actors import Actor
from governance.assurance.bundle_parts import ROTATION_ACTION
from governance.audit.checkpoints import get_signer, make_checkpoint
from governance.audit.log import Facts, record
from governance.audit.notes import VerifierKey, parse_key
from governance.audit.stored_tree import StoredTree
from governance.models import AuditEntry
from governance.policy import policy_facts
from governance.roles import OWNER
from governance.rules import check_role


def rotate_key(*, by: Actor) -> VerifierKey:
    """Give the log a new key and return it. Cut off half way, the same call goes on where it was.

    Until the log that has the entry is signed, by both keys, the old key stays; then the signer destroys it. Raises
    NotAllowed unless an evaluator owner asks, AuditError when the signer cannot sign.
    """
    entry = announce_rotation(by=by)
    checkpoint = make_checkpoint()
    proof = StoredTree(checkpoint.size).inclusion_proof(entry.seq)
    return get_signer().finish_rotation(entry.body.encode(), entry.seq, proof)


@act(ROTATION_ACTION, durable=True)
def announce_rotation(*, by: Actor) -> AuditEntry:
    """Write the entry of a rotation; one in progress is returned as it is."""
    check_role(by, {OWNER})
    note = get_signer().prepare_rotation().decode()
    last = _entries().last()
    if last is not None and last.entry()["detail"]["note"] == note:
        return last
    facts = Facts(policy=policy_facts(), detail={"note": note})
    return record(by=by, action=ROTATION_ACTION, subject=("log", "signer"), facts=facts)


def rotations() -> list[dict[str, Any]]:
    """Every change of the key, oldest first: {seq, note}."""
    return [{"seq": row.seq, "note": row.entry()["detail"]["note"]} for row in _entries()]


def log_keys() -> list[VerifierKey]:
    """The keys of this log, oldest first; the last one signs. Raises AuditError without a signer."""
    handed = [rotation["note"].split("\n") for rotation in rotations()]
    if not handed:
        return [get_signer().key()]
    return [parse_key(handed[0][1]), *(parse_key(lines[2]) for lines in handed)]


def _entries() -> Any:
    return AuditEntry.objects.filter(action=ROTATION_ACTION, outcome="allowed").order_by("seq")
