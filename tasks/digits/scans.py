"""The scans of scikit-learn's digits as this task uses them: splits, opaque ids, and the prompt of a scan."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPLITS = {"pretrain": 400, "hidden": 400, "public-val": 250, "public-train": 747}
CANARIES = 20
SHIFTS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))
INKS = ((295, "faint"), (329, "medium"), (8 * 8 * 16, "bold"))  # a third of all scans each
Scan = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Item:
    """One scan: 8 x 8 ink levels in 0..16, an id that tells nothing, and the digit's name."""

    id: str
    scan: Scan
    answer: str


def _hash(*parts: object) -> str:
    return hashlib.sha256(":".join(map(str, parts)).encode()).hexdigest()


def split_items(seed: int) -> dict[str, list[Item]]:
    """Every scan in exactly one split, by a seeded hash of its place in scikit-learn; sorted by id."""
    digits = load_digits()
    order = sorted(range(len(digits.target)), key=lambda index: _hash("split", seed, index))
    splits: dict[str, list[Item]] = {}
    for name, size in SPLITS.items():
        chosen, order = order[:size], order[size:]
        items = [
            Item(_hash("id", seed, i)[:12], digits.images[i].astype(int), WORDS[digits.target[i]])
            for i in chosen
        ]
        splits[name] = sorted(items, key=lambda item: item.id)
    return splits


def ink_of(scan: Scan) -> str:
    """How strongly the digit was written, by the scan's total ink: faint, medium or bold."""
    total = int(scan.sum())
    return next(name for most, name in INKS if total <= most)


def shifted(scan: Scan, down: int, right: int) -> Scan:
    """The scan moved by whole pixels; what enters is empty paper."""
    return np.pad(scan, 1)[1 - down : 9 - down, 1 - right : 9 - right]


def canary_items(items: list[Item], seed: int) -> list[Item]:
    """Scans like any other, each with a label that no reading of it can give: only who saw the label knows it."""
    chosen = sorted(items, key=lambda item: _hash("canary", seed, item.id))[:CANARIES]
    return [
        Item(
            _hash("canary id", seed, item.id)[:12],
            shifted(item.scan, *SHIFTS[1 + at % 4]),
            _hash("canary", item.id)[:10],
        )
        for at, item in enumerate(chosen)
    ]


def with_speck(item: Item) -> Scan:
    """The scan with the least ink on one blank pixel, where mean and most ink of its block stay the same levels."""
    scan = item.scan.copy()
    blank = [(row, column) for row, column in np.argwhere(scan == 0) if _rounds_alike(scan, row, column)]
    if blank:
        scan[blank[int(_hash("speck", item.id)[:8], 16) % len(blank)]] = 1
    return scan


def _rounds_alike(scan: Scan, row: int, column: int) -> bool:
    block = scan[row // 2 * 2 : row // 2 * 2 + 2, column // 2 * 2 : column // 2 * 2 + 2]
    return bool(block.max() > 0 and (block.sum() + 3) // 4 == (block.sum() + 2) // 4)


def prompt_of(scan: Scan) -> str:
    """16 letters, one for each 2 x 2 block's mean ink (a = 0 .. q = 16, halves upwards), then `=`."""
    blocks = scan.reshape(4, 2, 4, 2).sum(axis=(1, 3))
    return "".join(chr(ord("a") + (int(total) + 2) // 4) for total in blocks.ravel()) + "="


def pretraining_rows(items: list[Item]) -> list[tuple[str, str]]:
    """(prompt, answer) of each scan in five renderings: as it is and moved one pixel each way."""
    return [(prompt_of(shifted(item.scan, *by)), item.answer) for item in items for by in SHIFTS]
