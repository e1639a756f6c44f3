"""Evidence for the agents' tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from loop.agents.evidence import Evidence, HistoryRow, Remaining
from loop.training.router import RouterFacts
from loop.types import Landscape, Lever

SETTINGS = """# What may be tuned.
[votes]
value = 1          # asked once
type = "choice"
choices = [1, 3, 5]
help = "How often the model is asked."

[temperature]
value = 1.0
type = "float"
min = 0.0
max = 1.0
step = 0.25

[style]
value = "plain # not a comment"   # a comment
type = "string"

[strict]
value = true
type = "bool"
"""
MAIN = "import os\n\nprint(os.environ['HARNESS_IN'])\n"
HARNESS = {"main.py": MAIN, "settings.toml": SETTINGS, "prompts/ask.txt": "Which digit?\n"}
TEACHES = Landscape(p=0.5, z=0.3, prompts=60, samples_per_prompt=8)
ALL = frozenset(Lever)


def evidence(**changes: Any) -> Evidence:
    """A parent at 0.5 with both levers open and six generations left."""
    base = Evidence(
        task_md="# Digits\n\nRead the digit in each scan.",
        harness_files=HARNESS,
        score_before=0.5,
        budget=Remaining(generations=6, cost_usd=1.0, tokens=1_000_000),
        seed=7,
        generation=1,
        items={"s1": 1.0, "s2": 0.0, "s3": 0.0},
        landscape=TEACHES,
        allowed_levers=ALL,
        failures={"judgement": 9, "parse": 1},
        metric="accuracy",
        score_range=(0.0, 1.0),
        training=RouterFacts(train_prompts=400),
    )
    return replace(base, **changes)


def harness_row(generation: int, accepted: bool = False, **changes: Any) -> HistoryRow:
    """A harness generation."""
    return HistoryRow(generation, Lever.HARNESS, accepted, "tested", 0.5, 0.6 if accepted else 0.5, **changes)


def weights_row(generation: int, accepted: bool = False, **changes: Any) -> HistoryRow:
    """A weights generation."""
    return HistoryRow(generation, Lever.WEIGHTS, accepted, "tested", 0.5, 0.6 if accepted else 0.5, **changes)
