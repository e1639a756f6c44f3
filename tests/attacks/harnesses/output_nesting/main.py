"""Writes JSON that is nested deeper than a parser's stack."""

from __future__ import annotations

from pathlib import Path

Path("/out/predictions.jsonl").write_text("[" * 500_000)
