"""The interface that every agent backend implements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from loop.agents.evidence import Evidence, HistoryRow, Remaining
from loop.types import AgentCallRecord, Decision

__all__ = ["AgentBackend", "Evidence", "HistoryRow", "Record", "Remaining"]

Record = Callable[[AgentCallRecord], None]


class AgentBackend(Protocol):
    """Meta-Agent and Feedback-Agent on one kind of mind.

    Both methods raise ProviderError (outage), BudgetSpent (no money, tokens or turns left) or Refused (the
    model declined or never decided). Every exchange with a model goes to `record`, failed ones too.
    """

    @property
    def name(self) -> str:
        """What it is, as shown to people: the profile's name."""

    def write_harness(self, evidence: Evidence, record: Record) -> Decision:
        """The Meta-Agent: the first harness, as edits of the seed harness (no edits: the seed as it is)."""

    def decide(self, evidence: Evidence, record: Record) -> Decision:
        """The Feedback-Agent: one lever, with reasons."""
