"""Writes its outputs with a byte order mark."""

from __future__ import annotations

from pathlib import Path

rows = ['{"id":"a","answer":"1"}', '{"id":"b","answer":"2"}', '{"id":"c","answer":"3"}']
Path("/out/predictions.jsonl").write_text("\n".join(rows), encoding="utf-8-sig")
