"""Puts code and prose after its last row."""

from __future__ import annotations

from pathlib import Path

rows = ['{"id":"a","answer":"1"}', '{"id":"b","answer":"2"}', '{"id":"c","answer":"3"} ; import os']
Path("/out/predictions.jsonl").write_text("\n".join(rows) + "\n")
