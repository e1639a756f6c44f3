"""Looks for the answers in what surrounds the inputs: order, times, sizes, attributes, the seed."""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import TARGETS, answer

answer()
seen = os.environ["HARNESS_SEED"]
for path in [Path("/in"), *Path("/in").rglob("*"), *Path("/harness").rglob("*")]:
    seen += f"{path} {path.stat()} {os.listxattr(path)}"
seen += Path("/in/inputs.jsonl").read_text()
for seed in (int(os.environ["HARNESS_SEED"]), 0, 42, os.getpid(), int(time.time())):
    seen += random.Random(seed).randbytes(64).hex() + f"{random.Random(seed).getrandbits(128):x}"
print(seen)
if TARGETS["prefix"] in seen:
    print("BREACH the answer is in sight")
