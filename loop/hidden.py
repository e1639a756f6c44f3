"""The hidden set, opened: by the verifier's account alone; who may import this module is written in pyproject.toml.

For each verification the ids are re-keyed and the rows shuffled, by a key that never leaves the hidden store; both
arms of one verification see the same re-keyed set, and doing it again gives the same result. Every opening is an
entry of the audit log, written before the first file is read.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shutil
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import DatabaseError

from governance import actions
from governance.actors import Actor
from governance.audit.log import Facts
from governance.errors import GovernanceError
from governance.models import Version
from loop import hidden_store
from loop.errors import HiddenFailure, LoopError, TaskError

REPORTS = "reports"
CANARIES, REWORDED = "canaries", "reworded"
CANARY_IDS = "canaries.jsonl"


@dataclass(frozen=True, slots=True)
class Reading:
    """Who opens the hidden set and what for: the log's entry, and the purpose that the ids are re-keyed by."""

    purpose: str
    by: Actor
    subject: tuple[str, str]
    facts: Facts


@dataclass(frozen=True, slots=True)
class HiddenSet:
    """Re-keyed copies of the hidden inputs and labels, and the new ids in their new order.

    `scratch` is where everything that is made of them belongs. `originals` maps a new id to the one that the task's
    author gave. `canaries` are the new ids of the impossible items, which sit among the others and count in no score.
    """

    inputs: Path
    labels: Path
    ids: tuple[str, ...]
    scratch: Path
    originals: Mapping[str, str] = field(default_factory=dict)
    canaries: frozenset[str] = frozenset()


@contextmanager
def open_hidden(
    evaluator: Version, inputs_file: str, reading: Reading, *, reworded: bool = False
) -> Iterator[HiddenSet]:
    """The hidden set that this evaluator version commits to, re-keyed for one reading; gone after the block.

    With `reworded`, the inputs are the task's other form of the same items, where it has one.

    Raises TaskError when the stored set no longer matches the commitment or its rows have no string id, and
    HiddenFailure, which says only what kind of error it was, in place of any unforeseen one out of the block.
    """
    actions.note_event(by=reading.by, action="hidden.read", subject=reading.subject, facts=reading.facts)
    stored = hidden_store.sets().path(evaluator.manifest["hidden_commitment"])
    key = hmac.new(
        (stored / hidden_store.SALT).read_bytes(), reading.purpose.encode(), hashlib.sha256
    ).digest()
    with hidden_store.workplace() as scratch, _sealed():
        inputs, labels = scratch / "in", scratch / "labels"
        shutil.copytree(stored / "inputs", inputs)
        shutil.copytree(stored / "labels", labels)
        if reworded and (stored / REWORDED).is_dir():
            shutil.copytree(stored / REWORDED, inputs, dirs_exist_ok=True)
        _add_canaries(stored / CANARIES, inputs / inputs_file, labels)
        ids = _rekey(inputs / inputs_file, key)
        for path in sorted(labels.glob("*.jsonl")):
            _rekey(path, key)
        canaries = _ids(labels / CANARY_IDS) if (labels / CANARY_IDS).is_file() else ()
        yield HiddenSet(inputs, labels, tuple(ids), scratch, ids, frozenset(canaries))


def keep_report(name: str, text: str) -> Path:
    """Keep what went wrong on the hidden set inside its store, for those who may enter it; returns the file."""
    folder = hidden_store.root() / REPORTS
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{name}.txt"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as report:
        report.write(text)
    return path


@contextmanager
def _sealed() -> Iterator[None]:
    """An unforeseen error may quote what it failed on, so only its class and place leave the block."""
    try:
        yield
    except (LoopError, GovernanceError, DatabaseError):
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}, line {last.lineno}"
        raise HiddenFailure(
            f"A {type(error).__name__} ended the work on the hidden set ({place}); what it said stays there."
        ) from None


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
        if not isinstance(row, dict) or not isinstance(row.get("id"), str):
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
