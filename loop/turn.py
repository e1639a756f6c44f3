"""What one step of a generation works with: its rows, its contract, its lease, and what it has used so far."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from governance.models import Release
from loop.agents.backends.base import AgentBackend
from loop.contract import Contract, Spent
from loop.errors import Fenced
from loop.gateway import GatewaySession
from loop.installed import InstalledTask
from loop.leases import Lease, every
from loop.models import AgentCall, Campaign, Generation, Rollout
from loop.rollouts import Purpose, roll_out
from loop.types import AgentCallRecord


@dataclass
class Turn:
    """One step at work. `spent` and `calls` are committed with the step, or not at all; rollouts count their own."""

    campaign: Campaign
    generation: Generation
    contract: Contract
    task: InstalledTask
    backend: AgentBackend
    lease: Lease
    spent: Spent = field(default_factory=Spent)
    calls: list[AgentCallRecord] = field(default_factory=list)

    def show(self, text: str, done: int | None = None, total: int | None = None) -> None:
        """Tell people what is going on; for display only."""
        Generation.objects.filter(pk=self.generation.pk).update(
            progress={"text": text, "done": done, "total": total}
        )

    def roll_out(self, release: Release, split: str) -> Rollout:
        """The rollout of a release on a public split in this campaign, showing its model calls as they come."""
        sessions: list[GatewaySession] = []

        def show() -> None:
            calls = sum(len(session.calls) for session in sessions)
            self.show(f"rolling out on {split}: {calls} model calls", calls)

        stored = Spent(**Campaign.objects.values_list("spent", flat=True).get(pk=self.campaign.pk))
        used = stored.plus(tokens=self.spent.tokens, cost_usd=self.spent.cost_usd)
        purpose = Purpose(
            campaign=self.campaign,
            generation=self.generation,
            seed=self.contract.seed,
            tokens_left=self.contract.budgets.tokens - used.tokens,
            cost_left_usd=self.contract.budgets.cost_usd - used.cost_usd,
            on_session=sessions.append,
            cache=self.contract.cache_replies,
        )
        with every(1.0, show):
            return roll_out(self.task, release, split, purpose)

    def use(self, *, tokens: int = 0, cost_usd: float = 0.0) -> None:
        """Count what was used towards the campaign's budgets."""
        self.spent = self.spent.plus(tokens=tokens, cost_usd=cost_usd)

    def record(self, call: AgentCallRecord) -> None:
        """Keep one exchange with the agent's model."""
        self.calls.append(call)
        self.use(tokens=call.prompt_tokens + call.completion_tokens, cost_usd=call.cost_usd)

    @contextmanager
    def commit(self, wall_s: float) -> Iterator[None]:
        """The step's one transaction: under the fence, with what the step spent and every agent exchange."""
        with self.lease.commit():
            yield
            campaign = Campaign.objects.get(pk=self.campaign.pk)
            total = Spent(**campaign.spent).plus(
                wall_s=wall_s, tokens=self.spent.tokens, cost_usd=self.spent.cost_usd
            )
            Campaign.objects.filter(pk=campaign.pk).update(spent=asdict(total))
            generation = Generation.objects.get(pk=self.generation.pk)
            Generation.objects.filter(pk=generation.pk).update(
                cost_usd=generation.cost_usd + self.spent.cost_usd
            )
            self._keep_calls()

    def move(self, step: Generation.Step, **changes: object) -> None:
        """Move the generation from the step it was loaded at to `step`; raises Fenced if it is no longer there."""
        rows = Generation.objects.filter(pk=self.generation.pk, step=self.generation.step)
        if rows.update(step=step, progress={}, attempts=0, **changes) != 1:
            raise Fenced(f"{self.generation} has moved on meanwhile; this result is discarded.")

    def _keep_calls(self) -> None:
        start = AgentCall.objects.filter(generation=self.generation).count()
        AgentCall.objects.bulk_create(
            AgentCall(generation=self.generation, index=start + offset, **asdict(call))
            for offset, call in enumerate(self.calls)
        )
