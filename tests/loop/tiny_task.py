"""A tiny task without a model, and harnesses for it, written into a test's own folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

TASK_TOML = """
id = "tiny"
version = "1"
title = "Tiny"
licence = "MIT"
provenance = "made for tests"
label_secrecy = "public"
redistributable = "yes"
needs = []
[metric]
name = "accuracy"
direction = "maximize"
range = [0.0, 1.0]
[inputs]
file = "inputs.jsonl"
[outputs]
file = "predictions.jsonl"
[outputs.fields]
answer = { type = "string", max_length = 40 }
[splits]
public-val = 4
[limits]
wall_s = 20
"""
EVALUATOR = """
import json
from collections.abc import Iterable, Mapping
from pathlib import Path


def rows(path):
    return {row["id"]: row["answer"] for row in map(json.loads, path.read_text().splitlines())}


def evaluate(outputs_dir, labels_dir):
    given, right = rows(Path(outputs_dir, "predictions.jsonl")), rows(Path(labels_dir, "labels.jsonl"))
    items = {key: float(given[key] == right[key]) for key in right}
    return {"items": items, "metrics": {"accuracy": sum(items.values()) / len(items)}}
"""
SEED = """
import json
import os

source, target = os.environ["HARNESS_IN"] + "/inputs.jsonl", os.environ["HARNESS_OUT"] + "/predictions.jsonl"
with open(source) as inputs, open(target, "w") as out:
    for row in map(json.loads, inputs):
        out.write(json.dumps({"id": row["id"], "answer": str(row["x"])}) + "\\n")
"""
IDS = ("a", "b", "c", "d")


def write_tree(folder: Path, files: dict[str, str]) -> Path:
    """Writes files below `folder` and returns it."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def lines(rows: Iterable[Mapping[str, object]]) -> str:
    """JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def write_task(folder: Path, evaluator: str = EVALUATOR, toml: str = TASK_TOML) -> Path:
    """A task whose seed harness gets three of four items right."""
    return write_tree(folder, {
        "task.toml": toml,
        "evaluator/evaluate.py": evaluator,
        "seed/main.py": SEED,
        "public/public-val/inputs.jsonl": lines([{"id": key, "x": number} for number, key in enumerate(IDS)]),
        "labels/public-val/labels.jsonl": lines(
            [{"id": key, "answer": answer} for key, answer in zip(IDS, ("0", "1", "2", "nine"), strict=True)]
        ),
    })  # fmt: skip
