"""Answers with text that a careless reader would carry out or that breaks its sentences."""

from __future__ import annotations

from pathlib import Path

rows = [
    f'{{"id":"{key}","answer":"{value}"}}'
    for key, value in (("a", "1"), ("b", "2"), ("c", "{0.__class__}%s%n{{7*7}}$(id)`id`"))
]
Path("/out/predictions.jsonl").write_text("\n".join(rows) + "\n")
