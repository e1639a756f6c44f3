"""The hidden set, opened. Only loop.verification imports this module, and only the `verify` worker runs that.

For each verification the ids are re-keyed and the rows shuffled, by a key that never leaves the hidden store; both
arms of one verification see the same re-keyed set, and doing it again gives the same result.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from governance.models import Version
from loop.errors import TaskError
from loop.installation import HIDDEN, store
from loop.scratch import scratch

CANARIES, REWORDED = "canaries", "reworded"
CANARY_IDS = "canaries.jsonl"


@dataclass(frozen=True, slots=True)
class HiddenSet:
    """Re-keyed copies of the hidden inputs and labels, and the new ids in their new order.

    `originals` maps a new id to the one that the task's author gave. `canaries` are the new ids of the impossible
    items, which sit among the others and count in no score.
    """

    inputs: Path
    labels: Path
    ids: tuple[str, ...]
    originals: Mapping[str, str] = field(default_factory=dict)
    canaries: frozenset[str] = frozenset()


@contextmanager
def open_hidden(
    evaluator: Version, purpose: str, inputs_file: str, *, reworded: bool = False
) -> Iterator[HiddenSet]:
    """The hidden set that this evaluator version commits to, re-keyed for one purpose; gone after the block.

    With `reworded`, the inputs are the task's other form of the same items, where it has one.

    Raises TaskError when the stored set no longer matches the commitment or its rows have no string id.
    """
    stored = store(HIDDEN).path(evaluator.manifest["hidden_commitment"])
    key = hmac.new((stored / "salt").read_bytes(), purpose.encode(), hashlib.sha256).digest()
    with scratch("hidden") as folder:
        inputs, labels = folder / "in", folder / "labels"
        shutil.copytree(stored / "inputs", inputs)
        shutil.copytree(stored / "labels", labels)
        if reworded and (stored / REWORDED).is_dir():
            shutil.copytree(stored / REWORDED, inputs, dirs_exist_ok=True)
        _add_canaries(stored / CANARIES, inputs / inputs_file, labels)
        ids = _rekey(inputs / inputs_file, key)
        for path in sorted(labels.glob("*.jsonl")):
            _rekey(path, key)
        canaries = _ids(labels / CANARY_IDS) if (labels / CANARY_IDS).is_file() else ()
        yield HiddenSet(inputs, labels, tuple(ids), ids, frozenset(canaries))


def _add_canaries(canaries: Path, inputs: Path, labels: Path) -> None:
    """Put the impossible items among the others; a file of the labels names them to the evaluator."""
    if not canaries.is_dir():
        return
    for path in sorted(canaries.glob("*.jsonl")):
        target = inputs if path.name == inputs.name else labels / path.name
        with target.open("a", encoding="utf-8") as file:
            file.write(path.read_text(encoding="utf-8"))
    ids = _ids(canaries / inputs.name)
    text = "".join(json.dumps({"id": key}) + "\n" for key in ids)
    (labels / CANARY_IDS).write_text(text, encoding="utf-8")


def _ids(path: Path) -> tuple[str, ...]:
    return tuple(json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines())


def _rekey(path: Path, key: bytes) -> dict[str, str]:
    """Replace every id in a JSON-lines file by its keyed hash and sort the rows by it; return {new id: old id}."""
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        row = json.loads(line)
        if not isinstance(row.get("id"), str):
            raise TaskError(
                f"Row {number} of the hidden {path.name} has no string id; correct the task's data."
            )
        rows.append(row)
    old = {_new_id(key, row["id"]): row["id"] for row in rows}
    rows = sorted(({**row, "id": _new_id(key, row["id"])} for row in rows), key=lambda row: row["id"])
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return {row["id"]: old[row["id"]] for row in rows}


def _new_id(key: bytes, old: str) -> str:
    return hmac.new(key, old.encode(), hashlib.sha256).hexdigest()[:16]
