"""The Meta-Agent: writes the first harness of a task, once."""

from __future__ import annotations

from loop.agents.backends.base import AgentBackend, Evidence, Record
from loop.agents.checks import check_first
from loop.types import Decision


def first_harness(backend: AgentBackend, evidence: Evidence, record: Record) -> Decision:
    """The backend's first harness, checked. No files means the seed harness as it is.

    Raises Refused, HarnessError (an unusable tree), ProviderError or BudgetSpent.
    """
    decision = backend.write_harness(evidence, record)
    check_first(decision, evidence)
    return decision
