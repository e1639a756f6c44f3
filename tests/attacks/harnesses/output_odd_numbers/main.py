"""Answers with numbers that no number is: NaN, infinities, 1e999, five thousand digits."""

from __future__ import annotations

from pathlib import Path

values = ("NaN", "-Infinity", "1e999", "9" * 5000, "-0", "0x10")
rows = [f'{{"id":"{key}","answer":{value}}}' for key, value in zip("abcabc", values, strict=True)]
Path("/out/predictions.jsonl").write_text("\n".join(rows[:3]) + "\n")
Path("/out/more.jsonl").write_text("\n".join(rows[3:]) + "\n")
