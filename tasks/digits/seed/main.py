"""Seed harness: draw each scan as letters, ask the model, take the most frequent answer."""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from openai import OpenAI

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MOVES = {
    "none": ((0, 0),),
    "across": ((0, 0), (0, -1), (0, 1)),
    "around": ((0, 0), (0, -1), (0, 1), (-1, 0), (1, 0)),
}
THREADS = 4
Scan = list[list[int]]


def settings(folder: Path) -> dict[str, Any]:
    """The value of each tunable."""
    table = tomllib.loads((folder / "settings.toml").read_text(encoding="utf-8"))
    return {name: entry["value"] for name, entry in table.items()}


def moved(scan: Scan, down: int, right: int) -> Scan:
    """The scan moved by whole pixels; what enters is empty paper."""

    def ink(row: int, column: int) -> int:
        return scan[row][column] if 0 <= row < 8 and 0 <= column < 8 else 0

    return [[ink(row - down, column - right) for column in range(8)] for row in range(8)]


def rendered(scan: Scan, pooling: str, levels: int) -> str:
    """The prompt: one letter for each 2 x 2 block, then `=`."""
    letters = []
    for row in range(0, 8, 2):
        for column in range(0, 8, 2):
            block = scan[row][column : column + 2] + scan[row + 1][column : column + 2]
            ink = max(block) if pooling == "max" else sum(block) / 4
            step = 16 / (levels - 1)
            letters.append(chr(ord("a") + int(int(ink / step + 0.5) * step)))
    return "".join(letters) + "="


def extracted(reply: str, extraction: str) -> str:
    """The digit's name in a reply, or an empty string."""
    word = reply.strip().lower()
    if word in WORDS:
        return word
    near = difflib.get_close_matches(word, WORDS, n=1, cutoff=0.0) if extraction == "lenient" else []
    return near[0] if near else ""


class Reader:
    """Answers one item at a time with the harness's settings."""

    def __init__(self, values: dict[str, Any], client: OpenAI) -> None:
        self.values = values
        self.client = client

    def ask(self, prompt: str, item_id: str) -> str:
        """One vote: the digit's name or an empty string, asking again as often as `retries` allows."""
        for _ in range(1 + self.values["retries"]):
            reply = self.client.chat.completions.create(
                model="task-model",
                messages=[{"role": "user", "content": prompt}],
                max_tokens=8,
                temperature=self.values["temperature"],
                metadata={"item_id": item_id},
            )
            word = extracted(reply.choices[0].message.content or "", self.values["extraction"])
            if word:
                return word
        return ""

    def answer(self, item: dict[str, Any]) -> dict[str, str]:
        """The most frequent vote; among equals the one that came first."""
        moves = MOVES[self.values["shifts"]]
        votes = []
        for vote in range(self.values["votes"]):
            scan = moved(item["scan"], *moves[vote % len(moves)])
            prompt = rendered(scan, self.values["pooling"], self.values["levels"])
            votes.append(self.ask(prompt, item["id"]))
        counts = Counter(vote for vote in votes if vote)
        return {"id": item["id"], "answer": counts.most_common(1)[0][0] if counts else ""}


def main() -> None:
    """Read the inputs, answer them, write the predictions."""
    source, target = Path(os.environ["HARNESS_IN"]), Path(os.environ["HARNESS_OUT"])
    reader = Reader(settings(Path(__file__).parent), OpenAI(max_retries=4, timeout=60))
    lines = (source / "inputs.jsonl").read_text(encoding="utf-8").splitlines()
    items = [json.loads(line) for line in lines]
    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(reader.answer, items))
    text = "".join(json.dumps(answer) + "\n" for answer in answers)
    (target / "predictions.jsonl").write_text(text, encoding="utf-8")
    print(f"answered {len(answers)} items")


if __name__ == "__main__":
    main()
