"""Ends its lines with characters that only some readers take for an end."""

from __future__ import annotations

from pathlib import Path

rows = ['{"id":"a","answer":"1"}', '{"id":"b","answer":"2"}', '{"id":"c","answer":"3"}']
Path("/out/predictions.jsonl").write_text("\u2028".join(rows) + "\x0b\x0c\x85", encoding="utf-8")
