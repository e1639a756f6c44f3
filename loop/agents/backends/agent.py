"""Meta-Agent and Feedback-Agent on a language model; a protocol adds its chat."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from loop.agents.backends.base import Evidence, Record
from loop.agents.backends.conversation import Access, Chat, Conversation, Pace
from loop.agents.checks import check_first, check_next
from loop.agents.rendering import evidence_prompt, system_prompt
from loop.agents.workbench import ToolSpec, Workbench
from loop.types import Decision, Lever


@dataclass(frozen=True, slots=True)
class LanguageAgent(ABC):
    """An agent that reads, edits and decides through tools."""

    access: Access
    pace: Pace

    @property
    def name(self) -> str:
        """The profile's name."""
        return self.access.profile.id

    @abstractmethod
    def chat(self, prompts: tuple[str, str], specs: Sequence[ToolSpec]) -> Chat:
        """A new conversation with (system prompt, first message) and these tools."""

    def write_harness(self, evidence: Evidence, record: Record) -> Decision:
        """The first harness, as edits of the seed."""
        bench = Workbench(
            evidence.harness_files, frozenset({Lever.HARNESS}), lambda made: check_first(made, evidence)
        )
        return self._converse("meta", bench, evidence, record)

    def decide(self, evidence: Evidence, record: Record) -> Decision:
        """One lever, checked while the model can still answer."""
        bench = Workbench(
            evidence.harness_files, evidence.allowed_levers, lambda made: check_next(made, evidence)
        )
        return self._converse("feedback", bench, evidence, record)

    def _converse(self, role: str, bench: Workbench, evidence: Evidence, record: Record) -> Decision:
        prompts = (system_prompt(role), evidence_prompt(evidence))
        conversation = Conversation(role, self.access, self.pace, record)
        with closing(self.chat(prompts, bench.specs)) as chat:
            return conversation.run(chat, bench, evidence.budget)
