"""Three harness trees as a campaign makes them: the seed, a cooler one, and one that votes."""

from __future__ import annotations

from tests.governance.cast import Tree

MAIN = b'''"""Reads each scan, asks the model, and writes one answer for each."""

import json
import os
import re
import tomllib
from pathlib import Path

from openai import OpenAI

SETTINGS = tomllib.loads(Path("/harness/settings.toml").read_text())
client = OpenAI()


def ask(prompt: str) -> str:
    reply = client.chat.completions.create(
        model="task-model",
        messages=[{"role": "user", "content": prompt}],
        temperature=SETTINGS["temperature"]["value"],
        max_tokens=8,
    )
    return reply.choices[0].message.content


def answer(row: dict) -> str:
    text = ask(render(row["pixels"]))
    return re.sub(r"[^a-z]", "", text)


def render(pixels: list[int]) -> str:
    return "".join("abcdefghijklmnopq"[value] for value in pixels) + "="


def main() -> None:
    rows = [json.loads(line) for line in open("/in/inputs.jsonl")]
    with open("/out/predictions.jsonl", "w") as out:
        for row in rows:
            out.write(json.dumps({"id": row["id"], "answer": answer(row)}) + "\\n")


main()
'''
SETTINGS = b"""[votes]
value = 1
type = "int"
min = 1
max = 15
help = "How many answers are sampled for each scan"

[temperature]
value = 1.0
type = "float"
min = 0.0
max = 1.5
"""
VOTING = MAIN.replace(
    b"""def answer(row: dict) -> str:
    text = ask(render(row["pixels"]))
    return re.sub(r"[^a-z]", "", text)
""",
    b"""def answer(row: dict) -> str:
    votes = Counter(clean(ask(render(row["pixels"]))) for _ in range(SETTINGS["votes"]["value"]))
    return votes.most_common(1)[0][0]


def clean(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.strip().lower())
""",
).replace(b"import tomllib\n", b"import tomllib\nfrom collections import Counter\n")
SEED: Tree = {"main.py": ("file", MAIN), "settings.toml": ("file", SETTINGS)}
COOLER: Tree = {
    "main.py": ("file", MAIN),
    "settings.toml": ("file", SETTINGS.replace(b"value = 1.0", b"value = 0.4")),
}
VOTER: Tree = {
    "main.py": ("file", VOTING),
    "settings.toml": ("file", COOLER["settings.toml"][1].replace(b"value = 1\n", b"value = 7\n")),
    "prompts/retry.md": ("file", b"Answer with the name of one digit.\n"),
}
