"""Ends well without any output."""

from __future__ import annotations

from pathlib import Path

Path("/out/prediction.jsonl").write_text('{"id":"a","answer":"1"}')
Path("/out/Predictions.jsonl").write_text('{"id":"a","answer":"1"}')
