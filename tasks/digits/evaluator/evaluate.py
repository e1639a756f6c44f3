"""Accuracy on digits: an answer is right when it is exactly the digit's name. Standard library only.

Canaries (their ids are in canaries.jsonl beside the labels) are scored as items and count in no metric.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _labels(folder: str) -> dict[str, str]:
    return {row["id"]: row["answer"] for row in _rows(Path(folder) / "labels.jsonl")}


def _canaries(folder: str) -> set[str]:
    path = Path(folder) / "canaries.jsonl"
    return {row["id"] for row in _rows(path)} if path.is_file() else set()


def evaluate(outputs_dir: str, labels_dir: str) -> dict[str, dict[str, float]]:
    """1.0 or 0.0 for every labelled id, and the mean of all but the canaries as `accuracy`.

    Raises ValueError unless the predictions name every labelled id exactly once and no other.
    """
    labels = _labels(labels_dir)
    rows = _rows(Path(outputs_dir) / "predictions.jsonl")
    answers = {row["id"]: row["answer"] for row in rows}
    if len(answers) != len(rows) or answers.keys() != labels.keys():
        raise ValueError(f"{len(rows)} predictions do not name each of the {len(labels)} ids exactly once.")
    items = {key: float(answers[key] == label) for key, label in labels.items()}
    counted = [items[key] for key in items.keys() - _canaries(labels_dir)]
    return {"items": items, "metrics": {"accuracy": sum(counted) / len(counted)}}


def reward(rows: list[dict[str, str]], labels_dir: str) -> list[float | None]:
    """For training: 1.0 where a completion is the digit's name (spaces around it aside), else 0.0.

    An id without a label earns None: no reward is known for it.
    """
    labels = _labels(labels_dir)
    return [
        float(row["completion"].strip() == labels[row["id"]]) if row["id"] in labels else None for row in rows
    ]
