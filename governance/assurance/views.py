"""Derived views of entries for other programs: CSV for spreadsheets, OCSF for log collectors. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from governance.audit.canonical import canonical

Row = tuple[str, Mapping[str, Any]]  # leaf hash (hex), entry

COLUMNS = (
    "seq", "leaf", "time", "actor_kind", "actor", "action", "outcome", "object_type", "object_id",
    "task", "subject_digest", "before", "after", "reason",
)  # fmt: skip
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0")
OCSF_ENTITY_MANAGEMENT = 3004
OCSF_OTHER_ACTIVITY = 99
OCSF_STATUS = {"allowed": 1, "denied": 2, "failed": 2}


def safe_cell(value: str) -> str:
    """A cell that no spreadsheet takes for a formula: those that could be one get a leading quote."""
    return "'" + value if value.startswith(FORMULA_STARTS) else value


@dataclass(frozen=True)
class View:
    """One form of the log: a header, then one line for each entry."""

    header: bytes
    line: Callable[[str, Mapping[str, Any]], bytes]

    def __call__(self, rows: Iterable[Row]) -> bytes:
        """The whole file."""
        return self.header + b"".join(self.line(leaf, entry) for leaf, entry in rows)


def _csv_line(leaf: str, entry: Mapping[str, Any]) -> bytes:
    """One entry for spreadsheets, with its number and leaf hash."""
    values = {
        **{name: entry[name] for name in COLUMNS if name in entry},
        "leaf": leaf,
        "actor_kind": entry["actor"]["kind"],
        "actor": entry["actor"]["ref"],
        "object_type": entry["object"]["type"],
        "object_id": entry["object"]["id"],
    }
    return _csv_row([safe_cell(str(values[name])) for name in COLUMNS])


def _csv_row(cells: Sequence[str]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(cells)
    return buffer.getvalue().encode()


def _ocsf_line(leaf: str, entry: Mapping[str, Any]) -> bytes:
    """One entry as an OCSF event of class 3004 (Entity Management)."""
    return canonical(_ocsf(leaf, entry)) + b"\n"


def _ocsf(leaf: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    moment = datetime.fromisoformat(entry["time"].replace("Z", "+00:00"))
    return {
        "activity_id": OCSF_OTHER_ACTIVITY,
        "activity_name": entry["action"],
        "actor": {"user": {"uid": entry["actor"]["ref"], "type": entry["actor"]["kind"]}},
        "category_uid": OCSF_ENTITY_MANAGEMENT // 1000,
        "class_uid": OCSF_ENTITY_MANAGEMENT,
        "entity": {"type": entry["object"]["type"], "uid": entry["object"]["id"]},
        "message": entry["reason"],
        "metadata": {
            "product": {"name": "Pawl", "vendor_name": "Pawl"},
            "sequence": entry["seq"],
            "uid": entry["id"],
            "version": "1.3.0",
        },
        "severity_id": 1,
        "status_id": OCSF_STATUS[entry["outcome"]],
        "time": round(moment.timestamp() * 1000),
        "type_uid": OCSF_ENTITY_MANAGEMENT * 100 + OCSF_OTHER_ACTIVITY,
        "unmapped": {"leaf": leaf},
    }


events_csv = View(_csv_row(COLUMNS), _csv_line)
ocsf_jsonl = View(b"", _ocsf_line)
VIEWS = {"views/events.csv": events_csv, "views/ocsf.jsonl": ocsf_jsonl}
