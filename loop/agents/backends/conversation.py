"""The conversation of a language-model agent in any protocol: turns, retries, budget and the record."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from loop.agents.backends.base import Record
from loop.agents.config import ModelInfo, Profile, Provider
from loop.agents.evidence import Remaining
from loop.agents.workbench import ToolCall, ToolResult, Workbench
from loop.errors import BudgetSpent, ProviderError, Refused
from loop.types import AgentCallRecord, Decision

MAX_ATTEMPTS = 6
MAX_NUDGES = 3
MAX_BACKOFF_S = 60.0
LONGEST_WAIT_S = 300.0
BYTES_PER_TOKEN = 3
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
NEVER_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"})
NUDGE = "Go on with the tools; when you are done, call decide. Only decide ends your work."
OUTGROWN = "The conversation outgrew the model's context; use a model with a larger one."
CUT_OFF = "Your answer was cut off at the token limit, so this call was not carried out; make smaller edits."


@dataclass(frozen=True, slots=True)
class Access:
    """A profile, its provider and prices, and the key (never printed)."""

    profile: Profile
    provider: Provider
    info: ModelInfo
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pace:
    """How waiting is done; tests pass their own."""

    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one exchange: the prompt's (`fresh`, read from and written to the cache) and the answer's."""

    fresh: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    @property
    def prompt(self) -> int:
        """All prompt tokens."""
        return self.fresh + self.cache_read + self.cache_write


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `stop` is calls, end, length, refusal or context; `raw` is the provider's JSON."""

    calls: tuple[ToolCall, ...]
    stop: str
    tokens: Tokens
    raw: Mapping[str, Any]
    text: str = ""


class Fault(Exception):
    """One attempt without an answer; `retry`: another may help; `wait_s`: what the provider asked for.

    `billed`: the provider had the request and may charge for it, so it is charged at its reserve.
    """

    def __init__(self, sentence: str, *, retry: bool, billed: bool = False, wait_s: float = 0.0) -> None:
        super().__init__(sentence)
        self.retry = retry
        self.billed = billed
        self.wait_s = wait_s


class Chat(Protocol):
    """One protocol's side of a conversation. It keeps the messages; `send` adds the answer to them."""

    def request(self) -> Mapping[str, Any]:
        """The next request's body as plain JSON."""

    def send(self) -> Reply:
        """One attempt. Raises Fault."""

    def give(self, results: Sequence[ToolResult], note: str) -> None:
        """Add tool results, then a note (if any), as the user's next message."""

    def close(self) -> None:
        """Give the connections back."""


class Conversation:
    """Runs one agent until it decides. Every attempt is recorded, failed ones too."""

    def __init__(self, role: str, access: Access, pace: Pace, record: Record) -> None:
        self._role = role
        self._access = access
        self._pace = pace
        self._record = record
        self._known = 0
        self._cost = 0.0
        self._tokens = 0
        self._started = time.monotonic()

    def run(self, chat: Chat, bench: Workbench, budget: Remaining) -> Decision:
        """The decision. Raises ProviderError, BudgetSpent, or Refused when it declines or never decides."""
        nudges = 0
        for _ in range(self._access.profile.max_turns):
            reply = self._exchange(chat, budget)
            if reply.stop == "refusal":
                why = reply.text[:300] or "no reason given"
                raise Refused(f"{self._access.profile.model} declined: {why}.")
            if reply.stop == "context":
                raise ProviderError(
                    "The conversation outgrew the model's context; use a model with a larger one."
                )
            results = self._work(reply, bench)
            if bench.decision is not None:
                return bench.decision
            nudges += not reply.calls
            if nudges > MAX_NUDGES:
                raise Refused(f"The agent stopped using its tools {nudges} times without a decision.")
            chat.give(results, "" if reply.calls else NUDGE)
        raise Refused(f"The agent did not decide within {self._access.profile.max_turns} turns.")

    def ask(self, chat: Chat, budget: Remaining) -> str:
        """The text of one answer, for a conversation without tools. Raises ProviderError or BudgetSpent."""
        reply = self._exchange(chat, budget)
        if reply.stop != "end":
            raise ProviderError(f"{self._access.profile.model} did not finish its answer ({reply.stop}).")
        return reply.text

    def _work(self, reply: Reply, bench: Workbench) -> list[ToolResult]:
        """Carry out the calls of one answer, up to a decision; those of a cut-off answer are refused."""
        results: list[ToolResult] = []
        for call in reply.calls:
            if reply.stop == "length":
                results.append(ToolResult(call.id, CUT_OFF, is_error=True))
            elif bench.decision is None:
                results.append(bench.run(call))
        return results

    def _exchange(self, chat: Chat, budget: Remaining) -> Reply:
        """One answer, with as many attempts as it takes."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            request = chat.request()
            self._check_budget(budget, len(json.dumps(request)))
            started = time.monotonic()
            try:
                reply = chat.send()
            except Fault as fault:
                self._note(request, started, fault=fault)
                if not fault.retry or attempt == MAX_ATTEMPTS or fault.wait_s > LONGEST_WAIT_S:
                    raise ProviderError(f"{self._access.provider.id}: {fault}") from fault
                backoff = min(MAX_BACKOFF_S, 2.0**attempt) * random.uniform(0.5, 1.0)
                self._pace.sleep(max(fault.wait_s, backoff))
                continue
            self._note(request, started, reply=reply)
            return reply
        raise AssertionError("every attempt returns or raises")

    def _check_budget(self, budget: Remaining, request_bytes: int) -> None:
        """Refuse a call whose expected cost does not fit: prompt by its size, and the longest answer."""
        prompt, output = request_bytes // BYTES_PER_TOKEN, self._access.profile.max_tokens
        if prompt + output > self._access.info.context:
            raise ProviderError(OUTGROWN)
        cost = self._access.info.prices.worst(prompt, output)
        left = (budget.cost_usd or 0.0) - self._cost
        if budget.cost_usd is not None and cost > left:
            raise BudgetSpent(f"The agent's next call may cost {cost:.4f} USD, but {left:.4f} are left.")
        if budget.tokens is not None and self._tokens + prompt + output > budget.tokens:
            raise BudgetSpent(
                f"The agent's next call may take {prompt + output} tokens of a budget of {budget.tokens}, "
                f"of which {self._tokens} are used."
            )
        if budget.wall_s is not None and time.monotonic() - self._started > budget.wall_s:
            raise BudgetSpent(
                f"The time budget of {budget.wall_s:.0f} s is spent; the agent had not decided."
            )

    def _note(
        self,
        request: Mapping[str, Any],
        started: float,
        *,
        reply: Reply | None = None,
        fault: Fault | None = None,
    ) -> None:
        """Record one attempt: the messages that are new since the last answer, with the rest at the first."""
        messages = request["messages"]
        kept = dict(request) if self._known == 0 else {"model": request["model"], "earlier": self._known}
        kept["messages"] = list(messages[self._known :])
        error, tokens = str(fault or ""), reply.tokens if reply else Tokens()
        if fault is not None and fault.billed:
            tokens = Tokens(len(json.dumps(request)) // BYTES_PER_TOKEN, self._access.profile.max_tokens)
            error = f"{error} The attempt was charged at its reserve."
        cost = self._access.info.prices.cost(
            fresh=tokens.fresh,
            output=tokens.output,
            cache_read=tokens.cache_read,
            cache_write=tokens.cache_write,
        )
        self._cost += cost
        self._tokens += tokens.prompt + tokens.output
        if reply is not None:
            self._known = len(messages)
        self._record(
            AgentCallRecord(
                role=self._role,
                model=self._access.profile.model,
                request=kept,
                reply=reply.raw if reply else None,
                error=error,
                prompt_tokens=tokens.prompt,
                completion_tokens=tokens.output,
                cached_tokens=tokens.cache_read,
                cost_usd=cost,
                seconds=time.monotonic() - started,
            )
        )


def fault_of(sdk: Any, error: Exception) -> Fault:
    """An SDK's error as a fault; `sdk` is the anthropic or the openai module (they name errors alike)."""
    if isinstance(error, sdk.APITimeoutError):
        return Fault("The provider took too long.", retry=True, billed=_was_sent(error))
    if isinstance(error, sdk.APIConnectionError):
        what = f"The connection failed ({type(error.__cause__ or error).__name__})."
        return Fault(what, retry=True, billed=_was_sent(error))
    if not isinstance(error, sdk.APIStatusError):
        return Fault(f"The provider's answer is not valid ({type(error).__name__}).", retry=True, billed=True)
    status = error.status_code
    if status in (401, 403):
        return Fault(f"The provider refused the key ({status}); check it and its rights.", retry=False)
    wait = retry_after(error.response.headers.get("retry-after"))
    detail = " ".join(str(error.message).split())[:300]
    return Fault(f"The provider answered {status}: {detail}", retry=status in RETRIED, wait_s=wait)


def _was_sent(error: Exception) -> bool:
    """Whether the provider may have the request: anything but a connection that was never made."""
    return type(error.__cause__).__name__ not in NEVER_SENT


def retry_after(value: str | None) -> float:
    """Seconds asked for by a retry-after header; 0 for none and for dates."""
    try:
        return max(0.0, float(value or 0))
    except ValueError:
        return 0.0
