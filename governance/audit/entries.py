"""The form of an entry: which fields, of which types. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ENTRY_VERSION = 1
TEXT_FIELDS = (
    "id", "time", "on_behalf_of", "action", "outcome", "subject_digest", "before", "after", "reason", "cause",
    "request_id", "task",
)  # fmt: skip
PART_FIELDS = {
    "actor": ("kind", "ref", "auth"),
    "object": ("type", "id"),
    "policy": ("digest", "version"),
}
OUTCOMES = ("allowed", "denied", "failed")
FIELDS = frozenset({"v", "seq", *TEXT_FIELDS, *PART_FIELDS, "evidence", "detail"})


def shape_problem(entry: Any) -> str:
    """What is wrong with the form of an entry; the empty string when nothing is."""
    if not isinstance(entry, Mapping) or set(entry) != FIELDS:
        return f"its fields are not {', '.join(sorted(FIELDS))}"
    if type(entry["v"]) is not int or entry["v"] != ENTRY_VERSION or type(entry["seq"]) is not int:
        return f"its version is {entry['v']!r}, expected {ENTRY_VERSION}, or its number is none"
    for name in TEXT_FIELDS:
        if not isinstance(entry[name], str):
            return f"{name} is not text"
    for name, parts in PART_FIELDS.items():
        part = entry[name]
        if not isinstance(part, Mapping) or sorted(part) != sorted(parts):
            return f"{name} does not have exactly {', '.join(parts)}"
        if not all(isinstance(value, str) for value in part.values()):
            return f"{name} has a part that is not text"
    if entry["outcome"] not in OUTCOMES:
        return f"its outcome is {entry['outcome']!r}, expected one of {', '.join(OUTCOMES)}"
    if not isinstance(entry["evidence"], list) or not isinstance(entry["detail"], Mapping):
        return "evidence is not a list, or detail is not an object"
    return ""
