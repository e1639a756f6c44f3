"""The Feedback-Agent: reads the evidence of a generation and pulls one lever."""

from __future__ import annotations

from dataclasses import replace

from loop.agents.backends.base import AgentBackend, Evidence, Record
from loop.agents.checks import check_next
from loop.agents.facts import facts_of
from loop.agents.levers import weights_route
from loop.training.router import Route
from loop.types import Decision, Lever


def decide(backend: AgentBackend, evidence: Evidence, record: Record) -> Decision:
    """The backend's decision, checked against the rules and, for an edit, against the harness contract.

    A weight update without an algorithm gets the router's, with its settings under the agent's own.
    Raises Refused (a rule), HarnessError (an unusable or unchanged tree), ProviderError or BudgetSpent.
    """
    decision = backend.decide(evidence, record)
    check_next(decision, evidence)
    if decision.lever is Lever.WEIGHTS:
        return _completed(decision, weights_route(facts_of(evidence)))
    return decision


def _completed(decision: Decision, chosen: Route) -> Decision:
    if decision.algorithm in {"", chosen.algorithm}:
        return replace(decision, algorithm=chosen.algorithm, hyper={**chosen.hyper, **decision.hyper})
    return decision
