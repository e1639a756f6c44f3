"""The Feedback-Agent: reads the evidence of a generation and pulls one lever."""

from __future__ import annotations

from loop.agents.backends.base import AgentBackend, Evidence, Record
from loop.agents.facts import facts_of
from loop.agents.levers import check_decision
from loop.agents.tree import check_tree, with_edits
from loop.errors import HarnessError
from loop.types import Decision, Lever


def decide(backend: AgentBackend, evidence: Evidence, record: Record) -> Decision:
    """The backend's decision, checked against the rules and, for an edit, against the harness contract.

    Raises Refused (a rule), HarnessError (an unusable or unchanged tree), ProviderError or BudgetSpent.
    """
    decision = backend.decide(evidence, record)
    check_decision(decision, facts_of(evidence))
    if decision.lever is Lever.HARNESS:
        edited = with_edits(evidence.harness_files, decision.files)
        if edited == dict(evidence.harness_files):
            raise HarnessError(
                f"{backend.name} chose the harness but changed nothing; there is nothing to try."
            )
        check_tree(edited)
    return decision
