"""The hidden set, opened. Only loop.verification imports this module, and only the `verify` worker runs that.

For each verification the ids are re-keyed and the rows shuffled, by a key that never leaves the hidden store; both
arms of one verification see the same re-keyed set, and doing it again gives the same result.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.models import Version
from loop.errors import TaskError
from loop.installation import HIDDEN, store
from loop.scratch import scratch


@dataclass(frozen=True, slots=True)
class HiddenSet:
    """Re-keyed copies of the hidden inputs and labels, and the new ids in their new order."""

    inputs: Path
    labels: Path
    ids: tuple[str, ...]


@contextmanager
def open_hidden(evaluator: Version, purpose: str, inputs_file: str) -> Iterator[HiddenSet]:
    """The hidden set that this evaluator version commits to, re-keyed for one purpose; gone after the block.

    Raises TaskError when the stored set no longer matches the commitment or its rows have no string id.
    """
    stored = store(HIDDEN).path(evaluator.manifest["hidden_commitment"])
    key = hmac.new((stored / "salt").read_bytes(), purpose.encode(), hashlib.sha256).digest()
    with scratch("hidden") as folder:
        inputs, labels = folder / "in", folder / "labels"
        shutil.copytree(stored / "inputs", inputs)
        shutil.copytree(stored / "labels", labels)
        ids = _rekey(inputs / inputs_file, key)
        for path in sorted(labels.glob("*.jsonl")):
            _rekey(path, key)
        yield HiddenSet(inputs, labels, ids)


def _rekey(path: Path, key: bytes) -> tuple[str, ...]:
    """Replace every id in a JSON-lines file by its keyed hash and sort the rows by it; return the new ids."""
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        row = json.loads(line)
        if not isinstance(row.get("id"), str):
            raise TaskError(
                f"Row {number} of the hidden {path.name} has no string id; correct the task's data."
            )
        rows.append({**row, "id": _new_id(key, row["id"])})
    rows.sort(key=lambda row: row["id"])
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return tuple(row["id"] for row in rows)


def _new_id(key: bytes, old: str) -> str:
    return hmac.new(key, old.encode(), hashlib.sha256).hexdigest()[:16]
