"""Answers with an integer that takes a parser's time by the square of its digits."""

from __future__ import annotations

from pathlib import Path

rows = ['{"id":"a","answer":"1"}', '{"id":"b","answer":"2"}', '{"id":"c","answer":' + "9" * 900_000 + "}"]
Path("/out/predictions.jsonl").write_text("\n".join(rows) + "\n")
