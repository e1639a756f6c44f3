"""Answers with digits of other scripts, which some conversions take for numbers."""

from __future__ import annotations

from pathlib import Path

rows = ['{"id":"a","answer":"1"}', '{"id":"b","answer":"2"}', '{"id":"c","answer":"\uff13\u0663\u00b3"}']
Path("/out/predictions.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
