"""Gives two answers for one item in one object; readers differ on which counts."""

from __future__ import annotations

from pathlib import Path

rows = ['{"id":"a","answer":"0","answer":"1"}', '{"id":"b","answer":"2"}', '{"id":"c","answer":"3"}']
Path("/out/predictions.jsonl").write_text("\n".join(rows) + "\n")
