"""Hides a second answer behind a NUL."""

from __future__ import annotations

from pathlib import Path

rows = ['{"id":"a","answer":"1"}', '{"id":"b","answer":"2"}', '{"id":"c","answer":"3"}']
Path("/out/predictions.jsonl").write_bytes("\n".join(rows).encode() + b"\0" + rows[0].encode())
