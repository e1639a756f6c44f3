"""Verification inside the service: a bundle with the service's own verifier, and the live tables against the log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.db import connection, transaction
from django.utils import timezone

from governance.assurance.bundle import Pins, Report, check_bundle
from governance.assurance.bundle_files import Unreadable, read_bundle
from governance.assurance.bundle_parts import TAMPERED
from governance.assurance.judged_by import bytes_of
from governance.assurance.replay import Replay
from governance.assurance.rotation import log_keys
from governance.assurance.verifier_script import verifier_guide, verifier_script
from governance.audit.canonical import parse_canonical
from governance.audit.checkpoints import SIGNER, get_signer
from governance.audit.entries import shape_problem
from governance.audit.log import Facts, record
from governance.audit.notes import NoteError, TreeHead, parse_checkpoint, signers_of
from governance.audit.rows import Explained
from governance.audit.stored_tree import STEP
from governance.audit.tree import Tree, leaf_hash
from governance.errors import AuditError
from governance.models import AuditEntry, AuditHead, AuditNode, Checkpoint, Pointer, PointerMove

NO_PINS = Pins()
VERIFY_ACTION = "audit.verify"
NIGHTLY = timedelta(days=1)
SLACK = timedelta(seconds=5)  # between the clocks of two hosts
APPEND_ONLY = (
    "governance_auditentry",
    "governance_auditnode",
    "governance_checkpoint",
    "governance_pointermove",
    "governance_evidence",
)


def verify_bundle(path: Path, pins: Pins = NO_PINS) -> Report:
    """Check a bundle (folder or zip) with this service's own verifier, and its verify.py against it.

    Raises AuditError when there is nothing that can be read.
    """
    try:
        files = read_bundle(path)
    except (OSError, Unreadable) as error:
        raise AuditError(f"The bundle cannot be read: {error}.") from error
    report = check_bundle(files, pins)
    if report.status:
        return report
    own = {"verify.py": verifier_script(), "VERIFY.md": verifier_guide()}
    differing = [name for name, data in own.items() if files[name] != data]
    if differing:
        report.status = TAMPERED
        report.problem = (
            f"{' and '.join(differing)} of the bundle differ from this version of Pawl's own: another version made it, "
            "or somebody changed them; the data passed every step"
        )
    else:
        report.steps.append(
            f"{len(report.steps) + 1}. Verifier: verify.py and VERIFY.md are this version's own"
        )
    return report


def live_differences() -> list[str]:
    """What is not as the log says, one sentence each: entries, checkpoint, signer, pointers, triggers."""
    tree, state, known = Tree(), Replay(bytes_of), Explained()
    found = [*_entry_differences(tree, state, known)]
    size = AuditHead.objects.filter(pk=1).values_list("size", flat=True).first() or 0
    if size != len(tree):
        found.append(f"The head counts {size} entries, the table has {len(tree)}.")
    found += [f"Replay: {sentence}." for sentence in state.broken]
    found += _checkpoint_differences(tree)
    found += _node_differences(tree)
    found += _pointer_differences(state)
    found += known.differences()
    found += _trigger_differences()
    return found


def verify_live(now: datetime) -> list[str]:
    """Hold the live tables against the log and record the outcome; what was found."""
    found = live_differences()
    facts = Facts(
        outcome="failed" if found else "allowed",
        reason=found[0] if found else "",
        detail={"differences": len(found), "first": found[:20], "at": now.isoformat(timespec="seconds")},
    )
    with transaction.atomic():
        record(by=SIGNER, action=VERIFY_ACTION, subject=("log", "tables"), facts=facts)
    return found


def verify_is_due(now: datetime) -> bool:
    """Whether the tables were last held against the log more than a day ago."""
    return not AuditEntry.objects.filter(action=VERIFY_ACTION, time__gt=now - NIGHTLY).exists()


def _entry_differences(tree: Tree, state: Replay, known: Explained) -> Iterator[str]:
    """Feed every entry to the tree and the replay; yield what is wrong with rows."""
    for row in AuditEntry.objects.order_by("seq").iterator(chunk_size=5_000):
        if row.seq != len(tree):
            yield f"Entry {len(tree)} is missing; the next one is {row.seq}."
        body = row.body.encode()
        tree.append(leaf_hash(body))
        if row.leaf != leaf_hash(body).hex():
            yield f"Entry {row.seq} does not hash to its leaf: its body or its leaf was changed."
        try:
            entry = parse_canonical(body)
            if problem := shape_problem(entry):
                raise ValueError(problem)
            columns = (
                row.seq, row.action, row.outcome, row.actor, row.object_type, row.object_id, row.task, row.time,
            )  # fmt: skip
            said = (
                entry["seq"], entry["action"], entry["outcome"], entry["actor"]["ref"],
                entry["object"]["type"], entry["object"]["id"], entry["task"], datetime.fromisoformat(entry["time"]),
            )  # fmt: skip
            known.feed(row.seq, entry["detail"])
        except (ValueError, AttributeError) as error:
            yield f"Entry {row.seq} is malformed: {error}."
            continue
        if columns != said:
            yield f"Entry {row.seq} has columns that differ from its body."
        state.feed(entry)


def _checkpoint_differences(tree: Tree) -> Iterator[str]:
    """Every checkpoint against the entries; the newest against the signer's own key and memory."""
    try:
        signer, keys = get_signer(), log_keys()
        last, own = signer.last(), signer.key()
    except (NoteError, AuditError) as error:
        yield f"The checkpoints cannot be checked: {error}."
        return
    if last.size > len(tree) or tree.root(last.size) != last.root:
        yield f"The entries are not those that the signer signed at {last.size}."
    own_signed = True
    for newest in Checkpoint.objects.order_by("size").iterator(chunk_size=1_000):
        if newest.size > len(tree):
            yield f"A checkpoint states {newest.size} entries, the table has {len(tree)}."
            continue
        root = tree.root(newest.size)
        try:
            text, signers = signers_of(newest.note.encode(), keys, _fast_verify)
            head = parse_checkpoint(text)
        except NoteError as error:
            yield f"The checkpoint at {newest.size} cannot be checked: {error}."
            continue
        own_signed = own in signers
        if not signers or head != TreeHead(own.name, newest.size, root) or newest.root != root.hex():
            yield f"The entries give another root at {newest.size} than its checkpoint, or nobody known signed it."
        written = AuditEntry.objects.values_list("time", flat=True).filter(seq=newest.size - 1).first()
        if not (written and written <= newest.time + SLACK and newest.time <= timezone.now() + SLACK):
            yield f"The checkpoint at {newest.size} is dated before its last entry, or after now."
    if not own_signed:
        yield "The newest checkpoint is not signed by the signer's own key."


def _fast_verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _node_differences(tree: Tree) -> Iterator[str]:
    for level, index, value in AuditNode.objects.values_list("level", "index", "hash").iterator(
        chunk_size=5_000
    ):
        fits = level and level % STEP == 0 and 0 <= index < len(tree) >> level
        if not fits or tree.full(level, index).hex() != value:
            yield f"Node {index} of level {level} is not the hash of its entries."


def _pointer_differences(state: Replay) -> list[str]:
    logged = {key: (history.live, history.generation) for key, history in state.pointers.items()}
    live = {pointer.key: (pointer.digest, pointer.generation) for pointer in Pointer.objects.all()}
    found = [
        f"Pointer {key} is {_shown(live.get(key))}, the log says {_shown(logged.get(key))}."
        for key in sorted(logged.keys() | live.keys())
        if live.get(key) != logged.get(key)
    ]
    moves = PointerMove.objects.count()
    if moves != state.moves:
        found.append(f"The history of pointers has {moves} moves, the log says {state.moves}.")
    return found


def _shown(value: tuple[str, int] | None) -> str:
    return f"{value[0][:12]} (generation {value[1]})" if value else "not there"


def _trigger_differences() -> list[str]:
    """Append-only tables whose triggers have gone."""
    query = {
        "sqlite": "SELECT DISTINCT tbl_name FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": (
            "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')"
        ),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(query)
        guarded = {row[0] for row in cursor.fetchall()}
    return [
        f"Table {name} has lost the triggers that keep it append-only."
        for name in APPEND_ONLY
        if name not in guarded
    ]
