"""The Meta-Agent: writes the first harness of a task, once."""

from __future__ import annotations

from loop.agents.backends.base import AgentBackend, Evidence, Record
from loop.agents.tree import check_tree, with_edits
from loop.errors import Refused
from loop.types import Decision, Lever


def first_harness(backend: AgentBackend, evidence: Evidence, record: Record) -> Decision:
    """The backend's first harness, checked. No files means the seed harness as it is.

    Raises Refused, HarnessError (an unusable tree), ProviderError or BudgetSpent.
    """
    decision = backend.write_harness(evidence, record)
    if decision.lever is not Lever.HARNESS:
        raise Refused(f"The Meta-Agent chose {decision.lever.value}, but its one job is to write a harness.")
    check_tree(with_edits(evidence.harness_files, decision.files))
    return decision
