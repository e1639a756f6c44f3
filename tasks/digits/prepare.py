"""Makes the data and the base model of the task: `python prepare.py --out DIR`. Deterministic, no torch.

Writes public/, labels/, hidden/ and models/digits-base/ below DIR, all at once: DIR appears only when it is
complete. The scans of the base model's own training are in no split.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from checkpoint import VOCABULARY, padded, write_checkpoint
from pretrain import Recipe, Shape, pretrain
from scans import Item, canary_items, ink_of, pretraining_rows, split_items, with_speck
from threadpoolctl import threadpool_limits

BASE = "digits-base"
RECIPE = Recipe(steps=200, batch=64, rate=2e-3)


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """One JSON object a line, in a folder that is made when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_split(items: list[Item], inputs: Path, labels: Path) -> None:
    """Inputs and labels of one split, in two folders that are never mounted together."""
    rows = ({"id": item.id, "answer": item.answer, "ink": ink_of(item.scan)} for item in items)
    write_lines(inputs / "inputs.jsonl", ({"id": item.id, "scan": item.scan.tolist()} for item in items))
    write_lines(labels / "labels.jsonl", rows)


def write_hidden(items: list[Item], folder: Path, seed: int) -> None:
    """The hidden split, its canaries, and the same items with a speck that no reader of ink levels should mind."""
    write_split(items, folder / "inputs", folder / "labels")
    write_split(canary_items(items, seed), folder / "canaries", folder / "canaries")
    specked = ({"id": item.id, "scan": with_speck(item).tolist()} for item in items)
    write_lines(folder / "reworded" / "inputs.jsonl", specked)


def folder_digest(folder: Path) -> str:
    """SHA-256 (hex) over the names and contents of a flat folder's files."""
    outer = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        outer.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return outer.hexdigest()


def write_model(items: list[Item], folder: Path, seed: int, recipe: Recipe) -> str:
    """Pretrain the base model, write it with its manifest and return its digest; prints progress."""
    shape = Shape(vocabulary=len(VOCABULARY))
    began = time.perf_counter()

    def progress(step: int, loss: float) -> None:
        if step % 50 == 0 or step == recipe.steps:
            spent = time.perf_counter() - began
            print(f"{BASE}: step {step}/{recipe.steps}, loss {loss:.3f} nats, {spent:.0f} s", flush=True)

    with threadpool_limits(limits=1):
        rng = np.random.default_rng(seed)
        weights = pretrain(padded(pretraining_rows(items)), shape, recipe, rng, progress)
    folder.mkdir(parents=True)
    write_checkpoint(folder, weights, shape)
    digest = folder_digest(folder)
    manifest = {
        "name": BASE,
        "digest": digest,
        "parameters": int(sum(weight.size for weight in weights.values())),
        "seed": seed,
        "recipe": {"steps": recipe.steps, "batch": recipe.batch, "rate": recipe.rate},
        "scans": len(items),
        "versions": {"numpy": np.__version__, "scikit-learn": sklearn.__version__},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return digest


def prepare(out: Path, seed: int, recipe: Recipe = RECIPE) -> str:
    """Write everything below `out` and return the base model's digest. Raises FileExistsError."""
    if out.exists() and any(out.iterdir()):
        raise FileExistsError(f"{out} is not empty; remove it or choose another folder.")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        splits = split_items(seed)
        for name in ("public-train", "public-val"):
            write_split(splits[name], partial / "public" / name, partial / "labels" / name)
        write_hidden(splits["hidden"], partial / "hidden", seed)
        digest = write_model(splits["pretrain"], partial / "models" / BASE, seed, recipe)
        partial.chmod(0o755)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return digest


def main() -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to make; must not hold anything yet")
    parser.add_argument("--seed", type=int, default=1, help="seed of the splits, the ids and the base model")
    arguments = parser.parse_args()
    try:
        digest = prepare(arguments.out.absolute(), arguments.seed)
    except FileExistsError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps({"out": str(arguments.out), "model": BASE, "digest": digest}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
