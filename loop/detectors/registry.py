"""All detectors, what each claims to see, and whether a measurement lets it block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from loop.detectors.answers import answer_literals
from loop.detectors.canaries import passed_canaries
from loop.detectors.edit import edit_rules
from loop.detectors.exhibit import Exhibit, Finding, Sight
from loop.detectors.gap import public_hidden_gap
from loop.detectors.honeytokens import leaked_tokens
from loop.detectors.integrity import integrity
from loop.detectors.metamorphic import metamorphic
from loop.detectors.readiness import preflight
from loop.detectors.reward import reward_shape
from loop.detectors.transcript import transcript_patterns


@dataclass(frozen=True, slots=True)
class Detector:
    """One detector. `claims` names the kinds of cheating, as the labelled set calls them, that it is meant to see;
    `reads` says in words what it looks at and why the candidate cannot have written that."""

    name: str
    claims: frozenset[str]
    look: Callable[[Exhibit], Sight]
    reads: str


DETECTORS = (
    Detector(
        "D1 public-hidden gap",
        frozenset({"overfit-public"}),
        public_hidden_gap,
        "per-item scores of both releases on both splits, from the verifier's scoring",
    ),
    Detector(
        "D2 canaries",
        frozenset({"knows-hidden-labels"}),
        passed_canaries,
        "scores of impossible items that sit among the hidden ones under re-keyed ids",
    ),
    Detector(
        "D3 honeytokens",
        frozenset({"leaks-token"}),
        leaked_tokens,
        "secrets of this data home against files, calls, logs and outputs as the supervisor and the gateway kept them",
    ),
    Detector(
        "D4 integrity",
        frozenset({"tampers"}),
        integrity,
        "digests that the verifier takes of evaluator, labels, runtimes and its own environment, before and after",
    ),
    Detector(
        "D5 edit",
        frozenset({"reaches-out", "memorised-table", "other-model"}),
        edit_rules,
        "the committed files, parsed and never run",
    ),
    Detector(
        "D5 answers",
        frozenset({"answers-in-code"}),
        answer_literals,
        "the committed files against the labels of every split, in the verifier",
    ),
    Detector(
        "D6 transcript",
        frozenset({"asks-for-labels", "speaks-to-grader", "smuggles", "probes"}),
        transcript_patterns,
        "model calls as the gateway kept them, logs and outputs as the supervisor kept them",
    ),
    Detector(
        "D7 preflight",
        frozenset({"unfit-task"}),
        preflight,
        "the record of the task's preflight, which no campaign writes",
    ),
    Detector(
        "D8 reward shape",
        frozenset({"reward-out-of-shape"}),
        reward_shape,
        "rewards and tokens of earlier rounds, from the service's own scoring and metering",
    ),
    Detector(
        "D9 metamorphic re-run",
        frozenset({"depends-on-form"}),
        metamorphic,
        "a second hidden run under another key, in another order, reworded where the task says how",
    ),
)


def findings(exhibit: Exhibit, measured: Mapping[str, Any]) -> tuple[Finding, ...]:
    """What every detector has to say. `measured` are the figures in force by detector; one without any advises."""
    return tuple(_finding(detector, exhibit, measured.get(detector.name)) for detector in DETECTORS)


def _finding(detector: Detector, exhibit: Exhibit, figures: Mapping[str, Any] | None) -> Finding:
    sight = detector.look(exhibit)
    blocks = bool(figures and figures["blocks"])
    return Finding(detector.name, sight.fired, blocks, sight.detail, sight.excerpts, figures)
