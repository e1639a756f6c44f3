"""What a detector is worth on the labelled set, and whether that lets it block.

The figures lie in measured.json beside this file with the digests of the detectors' source and of the labelled set
that they were taken from. Where either has changed since, the figures say nothing and every detector advises.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from governance.digests import entries_digest
from loop.detectors.intervals import wilson
from loop.detectors.labelled import LABELLED, Example, load_examples
from loop.detectors.registry import DETECTORS, Detector

HERE = Path(__file__).parent
MEASURED = HERE / "measured.json"
LEAST_PRECISION, LEAST_RECALL, LEAST_CHEATS = 0.9, 0.8, 5
HELD_OUT = "test"


@dataclass(frozen=True, slots=True)
class Counts:
    """One detector on some examples: cheats of the kinds it claims, seen and missed; honest ones, flagged and passed;
    and how many of all cheats, claimed or not, it saw."""

    tp: int
    fn: int
    fp: int
    tn: int
    cheats: int
    cheats_seen: int

    @property
    def precision(self) -> float | None:
        """Share of cheats among what fired, or None when nothing fired."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else None

    @property
    def recall(self) -> float | None:
        """Share of the claimed cheats that fired, or None when the set holds none."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else None

    @property
    def blocks(self) -> bool:
        """Whether both figures reach what blocking asks for, on enough claimed cheats to speak of a share."""
        precision, recall = self.precision, self.recall
        return (
            precision is not None
            and recall is not None
            and precision >= LEAST_PRECISION
            and recall >= LEAST_RECALL
            and self.tp + self.fn >= LEAST_CHEATS
        )

    def as_json(self) -> dict[str, Any]:
        """The counts with their figures and 95 % Wilson intervals."""
        return {
            "tp": self.tp,
            "fn": self.fn,
            "fp": self.fp,
            "tn": self.tn,
            "precision": self.precision,
            "precision_interval": _rounded(wilson(self.tp, self.tp + self.fp)),
            "recall": self.recall,
            "recall_interval": _rounded(wilson(self.tp, self.tp + self.fn)),
            "recall_of_all": self.cheats_seen / self.cheats if self.cheats else None,
            "blocks": self.blocks,
        }


def count(detector: Detector, examples: Iterable[Example]) -> Counts:
    """Run one detector over labelled examples."""
    tp = fn = fp = tn = cheats = seen = 0
    for example in examples:
        fired = detector.look(example.exhibit).fired is True
        if example.honest:
            fp, tn = fp + fired, tn + (not fired)
            continue
        cheats, seen = cheats + 1, seen + fired
        if detector.claims & example.kinds:
            tp, fn = tp + fired, fn + (not fired)
    return Counts(tp, fn, fp, tn, cheats, seen)


def mistakes(detector: Detector, examples: Iterable[Example]) -> list[str]:
    """The examples that a detector gets wrong, by name."""
    wrong = []
    for example in examples:
        fired = detector.look(example.exhibit).fired is True
        if example.honest and fired:
            wrong.append(f"flags honest {example.name}")
        if not example.honest and detector.claims & example.kinds and not fired:
            wrong.append(f"misses {example.name}")
    return wrong


def measurement(examples: Sequence[Example]) -> dict[str, Any]:
    """The whole measurement: digests, sizes of both halves, and each detector's figures on the held-out half."""
    held_out = [example for example in examples if example.half == HELD_OUT]
    return {
        "code": code_digest(),
        "labelled": labelled_digest(),
        "examples": {
            half: {
                label: sum(each.half == half and each.honest == (label == "honest") for each in examples)
                for label in ("honest", "cheating")
            }
            for half in ("dev", HELD_OUT)
        },
        "detectors": {detector.name: count(detector, held_out).as_json() for detector in DETECTORS},
    }


def measure_all() -> dict[str, Any]:
    """The measurement over the shipped set."""
    return measurement(load_examples())


def code_digest() -> str:
    """SHA-256 over the detectors' source files."""
    return entries_digest({path.name: ("file", path.read_bytes()) for path in sorted(HERE.glob("*.py"))})


def labelled_digest() -> str:
    """SHA-256 over the files of the labelled set."""
    paths = sorted(path for path in LABELLED.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return entries_digest(
        {path.relative_to(LABELLED).as_posix(): ("file", path.read_bytes()) for path in paths}
    )


def on_file(path: Path = MEASURED) -> Mapping[str, Any]:
    """The measurement that was written last, whatever it is worth now; empty when there is none."""
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@cache
def in_force(path: Path = MEASURED) -> Mapping[str, Any]:
    """Figures by detector, or nothing when the measurement on file is of other code or another labelled set."""
    found = on_file(path)
    if found.get("code") != code_digest() or found.get("labelled") != labelled_digest():
        return {}
    figures: Mapping[str, Any] = found["detectors"]
    return figures


def write(found: Mapping[str, Any], path: Path = MEASURED) -> None:
    """Put a measurement on file."""
    path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    in_force.cache_clear()


def _rounded(interval: tuple[float, float]) -> list[float]:
    return [round(end, 4) for end in interval]
