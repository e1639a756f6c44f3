"""Verification inside the service: a bundle with the service's own verifier, and the live tables against the log."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

from django.db import connection

from governance.audit.bundle import Pins, Report, check_bundle
from governance.audit.bundle_files import Unreadable, read_bundle
from governance.audit.bundle_parts import TAMPERED
from governance.audit.canonical import parse_canonical
from governance.audit.checkpoints import get_signer, latest
from governance.audit.entries import shape_problem
from governance.audit.notes import NoteError, open_checkpoint
from governance.audit.replay import Replay
from governance.audit.tree import Tree, leaf_hash
from governance.audit.verifier_script import verifier_guide, verifier_script
from governance.errors import AuditError
from governance.models import AuditEntry, AuditHead, Pointer, PointerMove

NO_PINS = Pins()
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
    except (OSError, Unreadable, zipfile.BadZipFile) as error:
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
    tree, state = Tree(), Replay()
    found = [*_entry_differences(tree, state)]
    size = AuditHead.objects.filter(pk=1).values_list("size", flat=True).first() or 0
    if size != len(tree):
        found.append(f"The head counts {size} entries, the table has {len(tree)}.")
    found += [f"Replay: {sentence}." for sentence in state.broken]
    found += _checkpoint_differences(tree)
    found += _pointer_differences(state)
    found += _trigger_differences()
    return found


def _entry_differences(tree: Tree, state: Replay) -> Iterator[str]:
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
            columns = (row.seq, row.action, row.outcome, row.actor, row.object_type, row.object_id, row.task)
            said = (
                entry["seq"], entry["action"], entry["outcome"], entry["actor"]["ref"],
                entry["object"]["type"], entry["object"]["id"], entry["task"],
            )  # fmt: skip
        except ValueError as error:
            yield f"Entry {row.seq} is malformed: {error}."
            continue
        if columns != said:
            yield f"Entry {row.seq} has columns that differ from its body."
        state.feed(entry)


def _checkpoint_differences(tree: Tree) -> list[str]:
    checkpoint = latest()
    if checkpoint is None:
        return []
    if checkpoint.size > len(tree):
        return [f"A checkpoint states {checkpoint.size} entries, the table has {len(tree)}."]
    found = []
    root = tree.root(checkpoint.size)
    try:
        signer = get_signer()
        head = open_checkpoint(checkpoint.note.encode(), [signer.key()])
        last = signer.last()
    except (NoteError, AuditError) as error:
        return [f"The newest checkpoint cannot be checked: {error}."]
    if (head.size, head.root) != (checkpoint.size, root) or checkpoint.root != root.hex():
        found.append(f"The entries give another root at {checkpoint.size} than the newest checkpoint.")
    if last.size > len(tree) or tree.root(last.size) != last.root:
        found.append(f"The entries are not those that the signer signed at {last.size}.")
    return found


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
