"""From evidence to the facts of the lever rule. Pure."""

from __future__ import annotations

from loop.agents.evidence import Evidence
from loop.agents.levers import LeverFacts


def facts_of(evidence: Evidence, *, harness_exhausted: bool = False) -> LeverFacts:
    """The facts that `choose_lever` and `check_decision` look at."""
    return LeverFacts(
        budget=evidence.budget,
        history=evidence.history,
        allowed=evidence.allowed_levers,
        success=success_rate(evidence),
        failures=evidence.failures,
        landscape=evidence.landscape,
        training=evidence.training,
        harness_exhausted=harness_exhausted,
    )


def success_rate(evidence: Evidence) -> float | None:
    """Success in [0, 1]: as measured on samples, else the score within the metric's range, else None."""
    if evidence.landscape is not None and evidence.landscape.binary:
        return evidence.landscape.p
    if evidence.score_before is None or evidence.score_range is None:
        return None
    low, high = evidence.score_range
    if high <= low:
        return None
    share = (evidence.score_before - low) / (high - low)
    return share if evidence.higher_is_better else 1.0 - share
