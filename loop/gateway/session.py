"""One run's calls: check, seed, meter, ask, retry, record."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loop.gateway.anthropic_shapes import message_reply, messages_call
from loop.gateway.content import content_key
from loop.gateway.memory import Memory, ReplyCache
from loop.gateway.meter import Meter, Reservation
from loop.gateway.shapes import ChatCall, chat_call, parse_json
from loop.gateway.streams import chat_events, message_events
from loop.gateway.types import RUN_ENDED, TASK_MODEL, CallRefused, GatewayLimits, Upstream
from loop.gateway.upstream import AttemptFailed, Spent, UpstreamClient
from loop.types import ModelCall

OPENAI, ANTHROPIC = "openai", "anthropic"
PROVIDER, CACHE, RECORD = "provider", "cache", "record"
MAX_BACKOFF_S = 20.0
BUDGET_STATUSES = frozenset({402, 413, 429})
REFUSED_BODY_KEPT = 16 * 1024
ERROR_TYPES = {
    400: "invalid_request_error",
    402: "billing_error",
    413: "request_too_large",
    429: "rate_limit_error",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back over the socket. `final` asks SDKs not to retry."""

    status: int
    content_type: str
    body: bytes
    final: bool = False


@dataclass(frozen=True, slots=True)
class Charge:
    """What one answered call used, and where its answer came from."""

    reply: dict[str, Any]
    cost_usd: float
    source: str = PROVIDER
    reported_model: str = ""


@dataclass(slots=True)
class Step:
    """One call on its way: `request` as received, then as sent on; `call` once it passed the checks.

    `occurrence` counts earlier requests of the same content. Attempts that broke off are charged here.
    """

    index: int
    api: str
    started: float
    request: Mapping[str, Any] = field(default_factory=dict)
    call: ChatCall | None = None
    occurrence: int = 0
    attempts: int = 0
    reserved_tokens: int = 0
    reserved_cost: float = 0.0


class GatewaySession:
    """The record and the budget of one run. Thread-safe; made by `open_gateway`."""

    def __init__(self, upstream: Upstream, limits: GatewayLimits, seed: int, memory: Memory) -> None:
        self._upstream = upstream
        self._memory = memory
        self._limits = limits
        self._seed = seed
        self._meter = Meter(limits, upstream.prices)
        self._client = UpstreamClient(upstream)
        self._lock = threading.Lock()
        self._asked: dict[str, int] = {}
        self._calls: dict[int, ModelCall] = {}
        self._stop = threading.Event()

    @property
    def calls(self) -> list[ModelCall]:
        """Every finished call, failed ones too, in order of index."""
        with self._lock:
            return [self._calls[index] for index in sorted(self._calls)]

    @property
    def limit_hit(self) -> str:
        """The sentence of the first budget that refused a call, or an empty string."""
        return self._meter.limit_hit

    def usage(self) -> tuple[int, int, float]:
        """(model calls, tokens, US dollars) so far."""
        return self._meter.calls, self._meter.tokens, self._meter.cost_usd

    def close(self) -> None:
        """Fail whatever is in flight."""
        self._stop.set()
        self._meter.close()
        self._client.close()

    def handle(self, api: str, raw: bytes) -> Answer:
        """Answer one request body of `api` (openai or anthropic)."""
        started = time.monotonic()
        try:
            step = Step(self._meter.admit(), api, started)
        except CallRefused as refusal:
            return refusal_answer(api, refusal)
        try:
            return self._handle(step, raw)
        finally:
            self._meter.leave()

    def _handle(self, step: Step, raw: bytes) -> Answer:
        try:
            self._meter.keep(len(raw))
            step.request = parse_json(raw)
            shape = chat_call if step.api == OPENAI else messages_call
            step.call = shape(step.request, self._limits.max_completion_tokens)
            step.request = self._request(step, step.call)
            charge = self._answer(step)
        except CallRefused as refusal:
            if step.call is None and len(raw) > REFUSED_BODY_KEPT:
                step.request = {"omitted_bytes": len(raw)}
            self._note(step, refusal)
            return refusal_answer(step.api, refusal)
        charge.reply["id"] = f"chatcmpl-{step.index}"
        self._note(step, charge)
        return ok_answer(step.api, step.call, charge.reply)

    def _request(self, step: Step, call: ChatCall) -> dict[str, Any]:
        """The body for the upstream: the served name, and a seed that depends on content, not on timing."""
        body = {"model": self._upstream.served_model, **call.body}
        if "seed" not in body:
            digest = content_key([call.item_id, call.body])
            count = self._count(digest)
            mixed = hashlib.sha256(f"{self._seed}:{digest}:{count}".encode()).digest()
            body["seed"] = int.from_bytes(mixed[:4], "big") >> 1
        step.occurrence = self._count(content_key(body))
        return body

    def _count(self, key: str) -> int:
        """How often this key was counted before."""
        with self._lock:
            count = self._asked[key] = self._asked.get(key, -1) + 1
        return count

    def _answer(self, step: Step) -> Charge:
        """From the record, the cache, or the model. Raises CallRefused."""
        if self._memory.record is not None:
            return self._replay(self._memory.record.take(step.index, step.request))
        cache = self._memory.cache
        key = ReplyCache.key(self._upstream, step.request, step.occurrence) if cache else ""
        reply = cache.get(key) if cache else None
        if reply is not None:
            return Charge(reply, 0.0, CACHE)
        charge = self._ask(step, step.started + self._limits.deadline_s)
        if cache:
            cache.put(key, charge.reply)
        return charge

    def _replay(self, recorded: ModelCall) -> Charge:
        """What was recorded: the same reply, or the same refusal."""
        if recorded.reply is None:
            if recorded.status in BUDGET_STATUSES:
                self._meter.note_refusal(recorded.error)
            raise CallRefused(recorded.status, recorded.error)
        return Charge(dict(recorded.reply), 0.0, RECORD, recorded.reported_model)

    def _ask(self, step: Step, deadline: float) -> Charge:
        """Attempts until one is answered. Raises CallRefused: 402/429 budget, 400 upstream's refusal, 499, 502."""
        most = step.request["max_tokens"]
        sent = {key: value for key, value in step.request.items() if key != "max_tokens"}
        payload = json.dumps({**sent, self._upstream.max_tokens_field: most}).encode()
        while True:
            held = self._meter.reserve(len(payload), most, deadline)
            step.attempts += 1
            try:
                answer = self._client.ask(payload, deadline)
            except AttemptFailed as failure:
                charged = held if failure.billed else Reservation(0, 0.0)
                self._meter.settle(held, charged.tokens, charged.cost_usd)
                step.reserved_tokens += charged.tokens
                step.reserved_cost += charged.cost_usd
                self._back_off(failure, step.attempts, deadline)
                continue
            usage = answer.usage or Spent(held.tokens - most, most)
            cost = self._upstream.prices.cost(
                fresh=usage.fresh,
                output=usage.completion,
                cache_read=usage.cache_read,
                cache_write=usage.cache_write,
            )
            self._meter.settle(held, usage.prompt + usage.completion, cost)
            self._meter.count(answer.size)
            reply = {**answer.reply, "usage": usage.as_json()}
            return Charge(reply, cost, PROVIDER, answer.model)

    def _back_off(self, failure: AttemptFailed, attempt: int, deadline: float) -> None:
        """Wait before the next attempt, or raise CallRefused when there should be none."""
        wait = max(failure.wait_s, min(MAX_BACKOFF_S, 0.1 * 2**attempt) * random.uniform(0.5, 1.0))
        last = not failure.retry or time.monotonic() + wait >= deadline
        if not self._stop.is_set() and failure.status in (400, 404, 413, 422):
            raise CallRefused(400, str(failure)) from failure
        if self._stop.is_set() or (not last and self._stop.wait(wait)):
            raise CallRefused(RUN_ENDED, "The run ended before the model answered.") from failure
        if last:
            tries = f" ({attempt} attempts)" if attempt > 1 else ""
            raise CallRefused(502, f"{failure}{tries}") from failure

    def _note(self, step: Step, result: Charge | CallRefused) -> None:
        charge, failure = (None, result) if isinstance(result, CallRefused) else (result, None)
        usage = charge.reply["usage"] if charge else {}
        entry = ModelCall(
            index=step.index,
            api=step.api,
            model=TASK_MODEL,
            served_model=self._upstream.adapter_digest or self._upstream.served_model,
            request=step.request,
            reply=charge.reply if charge else None,
            status=failure.status if failure else 200,
            error=failure.sentence if failure else "",
            prompt_tokens=usage.get("prompt_tokens", 0),
            completion_tokens=usage.get("completion_tokens", 0),
            cost_usd=step.reserved_cost + (charge.cost_usd if charge else 0.0),
            latency_ms=(time.monotonic() - step.started) * 1000,
            item_id=step.call.item_id if step.call else None,
            base_model=self._upstream.base_model,
            adapter_digest=self._upstream.adapter_digest,
            reported_model=charge.reported_model if charge else "",
            source=charge.source if charge else PROVIDER if step.attempts else "",
            attempts=step.attempts,
            reserved_tokens=step.reserved_tokens,
        )
        with self._lock:
            self._calls[step.index] = entry


def ok_answer(api: str, call: ChatCall, reply: Mapping[str, Any]) -> Answer:
    """The reply in the client's protocol, whole or as a stream."""
    shaped = reply if api == OPENAI else message_reply(reply)
    if not call.stream:
        return Answer(200, "application/json", json.dumps(shaped).encode())
    events: Iterable[bytes] = (
        chat_events(reply, call.include_usage) if api == OPENAI else message_events(shaped)
    )
    return Answer(200, "text/event-stream", b"".join(events))


def refusal_answer(api: str, refusal: CallRefused) -> Answer:
    """An error in the client's protocol."""
    kind = ERROR_TYPES.get(refusal.status, "api_error")
    error = {"type": kind, "message": refusal.sentence}
    body: dict[str, Any] = {"error": {**error, "code": refusal.status}} if api == OPENAI else {"error": error}
    if api == ANTHROPIC:
        body["type"] = "error"
    return Answer(refusal.status, "application/json", json.dumps(body).encode(), refusal.final)
