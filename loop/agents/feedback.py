"""The Feedback-Agent: reads the evidence of a generation and pulls one lever."""

from __future__ import annotations

from loop.agents.backends.base import AgentBackend, Evidence, Record
from loop.agents.checks import check_next
from loop.types import Decision


def decide(backend: AgentBackend, evidence: Evidence, record: Record) -> Decision:
    """The backend's decision, checked against the rules and, for an edit, against the harness contract.

    Raises Refused (a rule), HarnessError (an unusable or unchanged tree), ProviderError or BudgetSpent.
    """
    decision = backend.decide(evidence, record)
    check_next(decision, evidence)
    return decision
