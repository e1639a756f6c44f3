"""Names one item twice, once in escapes."""

from __future__ import annotations

from pathlib import Path

rows = ['{"id":"a","answer":"1"}', '{"id":"\\u0061","answer":"2"}', '{"id":"c","answer":"3"}']
Path("/out/predictions.jsonl").write_text("\n".join(rows) + "\n")
