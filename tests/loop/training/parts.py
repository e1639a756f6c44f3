"""Parts for the training tests: a task of three letters, its evaluator, and a tiny random base model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loop.training.dataset import PromptRow, write_dataset
from loop.training.rewards import RewardSource
from loop.training.spec import TrainingSpec
from loop.types import Limits, ModelCall

LETTERS = "abc"
EVALUATOR = """
import json, os

def reward(rows, labels_dir):
    with open(os.path.join(labels_dir, "labels.jsonl")) as lines:
        labels = {row["id"]: row["answer"] for row in map(json.loads, lines)}
    return [float(labels[row["id"]] in row["completion"]) if row["id"] in labels else None for row in rows]
"""


def model_call(index: int = 0, item_id: str | None = "i0", text: str = "ab=", **changes: Any) -> ModelCall:
    """One successful recorded call, with changes."""
    request = {"model": "task-model", "messages": [{"role": "user", "content": text}], "max_tokens": 8}
    values: dict[str, Any] = {
        "index": index, "api": "openai", "model": "task-model", "served_model": "base", "request": request,
        "reply": {"choices": []}, "status": 200, "error": "", "prompt_tokens": 3, "completion_tokens": 1,
        "cost_usd": 0.0, "latency_ms": 1.0, "item_id": item_id,
    }  # fmt: skip
    return ModelCall(**(values | changes))


def prompt_rows(count: int) -> tuple[PromptRow, ...]:
    """Rows i0, i1, ... whose prompts are all different."""
    return tuple(
        PromptRow(f"i{n}", ({"role": "user", "content": f"{LETTERS[n % 3]}{LETTERS[n // 3 % 3]}{n}="},))
        for n in range(count)
    )


def evaluator_source(folder: Path, code: str = EVALUATOR, items: int = 12) -> RewardSource:
    """An evaluator and labels on disk; item n's answer is a letter."""
    evaluator, labels = folder / "evaluator", folder / "labels"
    evaluator.mkdir(parents=True)
    labels.mkdir()
    (evaluator / "evaluate.py").write_text(code)
    lines = [json.dumps({"id": f"i{n}", "answer": LETTERS[n % 3]}) + "\n" for n in range(items)]
    (labels / "labels.jsonl").write_text("".join(lines))
    return RewardSource(evaluator, labels, limits=Limits(), reply_s=20.0, life_s=300.0)


def training_spec(folder: Path, base: Path, hyper: Mapping[str, Any], **changes: Any) -> TrainingSpec:
    """A small job on twelve prompts; `folder` becomes its out_dir."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "data.jsonl"
    values: dict[str, Any] = {
        "base_dir": str(base), "base_digest": "b" * 64, "algorithm": "grpo", "dataset_path": str(data),
        "dataset_digest": write_dataset(prompt_rows(12), data), "reward_socket": "", "seed": 7,
        "budget_s": 120.0, "out_dir": str(folder), "hyper": dict(hyper), "trajectory_digests": ("t" * 64,),
    }  # fmt: skip
    return TrainingSpec(**(values | changes))
