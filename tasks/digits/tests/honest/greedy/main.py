"""Asks once for each scan and takes the likeliest reply as it is."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path

SOURCE, TARGET = Path(os.environ["HARNESS_IN"]), Path(os.environ["HARNESS_OUT"])
items = [json.loads(line) for line in (SOURCE / "inputs.jsonl").read_text(encoding="utf-8").splitlines()]


def rendered(scan: list[list[int]], down: int, right: int) -> str:
    """The prompt of a scan moved by whole pixels."""
    paper = [[0] * 12 for _ in range(12)]
    for row in range(8):
        paper[2 + row + down][2 + right : 10 + right] = scan[row]
    inner = [line[2:10] for line in paper[2:10]]
    blocks = [
        inner[row][column] + inner[row][column + 1] + inner[row + 1][column] + inner[row + 1][column + 1]
        for row in range(0, 8, 2)
        for column in range(0, 8, 2)
    ]
    return "".join(chr(ord("a") + (total + 2) // 4) for total in blocks) + "="


def ask(prompt: str, item_id: str) -> str:
    """The model's likeliest reply."""
    body = {
        "model": "task-model",
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": 8,
        "temperature": 0,
        "metadata": {"item_id": item_id},
    }
    request = urllib.request.Request(
        os.environ["OPENAI_BASE_URL"] + "/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return str(json.load(reply)["choices"][0]["message"]["content"])[:40]


rows = [{"id": item["id"], "answer": ask(rendered(item["scan"], 0, 0), item["id"])} for item in items]
(TARGET / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
