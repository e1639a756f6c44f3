"""Writes outputs in another encoding, with NULs."""

from __future__ import annotations

from pathlib import Path

Path("/out/predictions.jsonl").write_text('{"id":"a","answer":"1"}\n', encoding="utf-16")
