"""The task `letters`: a tiny random model is to answer with an even letter. Weights can learn that in a few steps."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from tests.loop.tiny_models import write_model
from tests.loop.tiny_task import lines, write_tree

SPLITS = {"public-train": 24, "public-val": 60, "hidden": 80}
ANSWER_TOKENS = 2
STEPS = 40
TRAINING = {"steps": STEPS, "prompts_per_step": 8, "generations": 4, "lora_r": 2, "lora_alpha": 4, "lr": 0.02}
TOML = """
id = "letters"
version = "1"
title = "Even letters"
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
answer = { type = "string", max_length = 10 }
[model]
base = "letters-base"
max_tokens = 4
[limits]
wall_s = 60.0
[gate]
alpha = 0.05
smallest_gain = 0.0
"""
EVALUATOR = """
import json
from pathlib import Path


def right(text):
    return float(bool(text) and ord(text[0]) % 2 == 0)


def evaluate(outputs_dir, labels_dir):
    rows = map(json.loads, Path(outputs_dir, "predictions.jsonl").read_text().splitlines())
    items = {row["id"]: right(row["answer"]) for row in rows}
    return {"items": items, "metrics": {"accuracy": sum(items.values()) / len(items)}}


def reward(rows, labels_dir):
    return [right(row["completion"]) for row in rows]
"""
SEED = f"""
import json
import os
import urllib.request
from pathlib import Path


def ask(row):
    body = {{
        "model": "task-model", "messages": [{{"role": "user", "content": row["text"]}}],
        "max_tokens": {ANSWER_TOKENS}, "temperature": 0.0, "metadata": {{"item_id": row["id"]}},
    }}
    request = urllib.request.Request(
        os.environ["OPENAI_BASE_URL"] + "/chat/completions", json.dumps(body).encode(),
        {{"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}},
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)["choices"][0]["message"]["content"] or ""


rows = map(json.loads, Path(os.environ["HARNESS_IN"], "inputs.jsonl").read_text().splitlines())
with Path(os.environ["HARNESS_OUT"], "predictions.jsonl").open("w") as out:
    for row in rows:
        out.write(json.dumps({{"id": row["id"], "answer": ask(row)}}) + "\\n")
"""


def write_letters(folder: Path) -> Path:
    """Write the whole task with its data and its model below `folder`, the same each time."""
    splits = "".join(f"{name} = {count}\n" for name, count in SPLITS.items())
    training = "".join(f"{name} = {value}\n" for name, value in TRAINING.items())
    dice = random.Random(0)
    files = {
        "task.toml": f"{TOML}[splits]\n{splits}[training]\n{training}",
        "task.md": "Answer every text with something that begins with an even letter.\n",
        "evaluator/evaluate.py": EVALUATOR,
        "seed/main.py": SEED,
    }
    for name, count in SPLITS.items():
        rows = [
            {"id": f"{dice.getrandbits(48):012x}", "text": "".join(dice.choices("abcdefghklmnop", k=6)) + "="}
            for _ in range(count)
        ]
        inputs, labels = (
            (f"public/{name}", f"labels/{name}") if name != "hidden" else ("hidden/inputs", "hidden/labels")
        )
        files[f"{inputs}/inputs.jsonl"] = lines(rows)
        files[f"{labels}/labels.jsonl"] = lines([{"id": row["id"], "answer": "even"} for row in rows])
    shutil.rmtree(folder, ignore_errors=True)
    write_tree(folder, files)
    write_model(folder / "models" / "letters-base")
    return folder
