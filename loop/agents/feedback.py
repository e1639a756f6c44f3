"""The Feedback-Agent: reads the evidence of a generation and pulls one lever."""

from __future__ import annotations

from dataclasses import asdict, replace

from loop.agents.backends.base import AgentBackend, Evidence, Record
from loop.agents.checks import check_next
from loop.agents.facts import facts_of
from loop.agents.levers import weights_route
from loop.training.hyper import resolve
from loop.types import Decision, Lever


def decide(backend: AgentBackend, evidence: Evidence, record: Record) -> Decision:
    """The backend's decision, checked against the rules and, for an edit, against the harness contract.

    A weight update names every hyper-parameter that it will run with: the router's (or the algorithm's own) under
    the agent's, and above both what the task and the harness fix. Raises Refused (a rule), HarnessError (an
    unusable or unchanged tree), TrainingError (a hyper-parameter), ProviderError or BudgetSpent.
    """
    decision = backend.decide(evidence, record)
    check_next(decision, evidence)
    if decision.lever is Lever.WEIGHTS:
        return _completed(decision, evidence)
    return decision


def _completed(decision: Decision, evidence: Evidence) -> Decision:
    chosen = weights_route(facts_of(evidence))
    algorithm = decision.algorithm or chosen.algorithm
    usual = chosen.hyper if algorithm == chosen.algorithm else {}
    fixed = evidence.training.fixed if evidence.training else {}
    hyper = resolve(algorithm, {**usual, **decision.hyper, **fixed})
    return replace(decision, algorithm=algorithm, hyper=asdict(hyper))
