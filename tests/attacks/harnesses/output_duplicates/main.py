"""Answers one item several times, differently, with a key twice."""

from __future__ import annotations

from pathlib import Path

rows = ['{"id":"a","answer":"1"}', '{"id":"a","answer":"2"}', '{"id":"b","answer":"0","answer":"2"}']
Path("/out/predictions.jsonl").write_text("\n".join(rows) + "\n")
