"""Uses ids that look like the expected ones."""

from __future__ import annotations

from pathlib import Path

rows = ['{"id":"\u0430","answer":"1"}', '{"id":"b ","answer":"2"}', '{"id":"c\\u0000","answer":"3"}']
Path("/out/predictions.jsonl").write_text("\n".join(rows), encoding="utf-8")
