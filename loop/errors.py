"""Errors of the loop, one class per boundary, so that an outage is never mistaken for a result.

Every message is one sentence: what went wrong, where, and what to do.
"""

from __future__ import annotations


class LoopError(Exception):
    """Base of every error that the loop raises on purpose."""


class TaskError(LoopError):
    """A task folder is missing, malformed or not what was installed."""


class SandboxError(LoopError):
    """The sandbox could not be used; says nothing about the program inside."""


class HarnessError(LoopError):
    """The harness tree itself is unusable (missing main.py, refused path, too large)."""


class OutputRejected(HarnessError):
    """The outputs of a rollout are not what the task declares; they were not scored."""


class EvaluatorError(LoopError):
    """The evaluator failed or returned something outside its contract; there is no score.

    `log_tail` is the evaluator's own log: it may quote labels, so it is for operators and never for an agent.
    """

    def __init__(self, message: str, log_tail: str = "") -> None:
        super().__init__(message)
        self.log_tail = log_tail


class HiddenFailure(LoopError):
    """Something broke while the hidden set was open; the message holds nothing that came from it."""


class ProviderError(LoopError):
    """A model provider could not be reached or answered with an error."""


class Outage(ProviderError):
    """The task model was out of reach for too many calls: the rollout is void and says nothing about the harness.

    `tokens` and `cost_usd` (US dollars) are what its calls used all the same, broken answers at their reserve.
    """

    def __init__(self, message: str, tokens: int, cost_usd: float) -> None:
        super().__init__(message)
        self.tokens = tokens
        self.cost_usd = cost_usd


class BudgetSpent(LoopError):
    """A written budget (money, tokens, time, hidden queries, generations) is used up."""


class Refused(LoopError):
    """A model declined to answer, or a rule refused an agent's decision."""


class TrainingError(LoopError):
    """A training job failed, collapsed or was cancelled; there is no adapter."""


class Fenced(LoopError):
    """Another worker took this campaign over; what this one computed is discarded."""


class GaveUp(LoopError):
    """A step was begun too often without an end; something kills or breaks its workers."""
