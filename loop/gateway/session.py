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
from loop.gateway.meter import Meter
from loop.gateway.shapes import ChatCall, chat_call, parse_json
from loop.gateway.streams import chat_events, message_events
from loop.gateway.types import TASK_MODEL, CallRefused, GatewayLimits, Upstream
from loop.gateway.upstream import AttemptFailed, UpstreamClient
from loop.types import ModelCall

OPENAI, ANTHROPIC = "openai", "anthropic"
MAX_BACKOFF_S = 20.0
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
    """What one answered call used."""

    reply: dict[str, Any]
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float


@dataclass(slots=True)
class Step:
    """One call on its way: `request` as received, then as sent on; `call` once it passed the checks."""

    index: int
    api: str
    started: float
    request: Mapping[str, Any] = field(default_factory=dict)
    call: ChatCall | None = None


class GatewaySession:
    """The record and the budget of one run. Thread-safe; made by `open_gateway`."""

    def __init__(self, upstream: Upstream, limits: GatewayLimits, seed: int) -> None:
        self._upstream = upstream
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
            self._meter.keep(len(raw))
            step.request = parse_json(raw)
            shape = chat_call if api == OPENAI else messages_call
            step.call = shape(step.request, self._limits.max_completion_tokens)
            step.request = self._request(step.call)
            charge = self._ask(step.request, started + self._limits.deadline_s)
        except CallRefused as refusal:
            if step.call is None and len(raw) > REFUSED_BODY_KEPT:
                step.request = {"omitted_bytes": len(raw)}
            self._record(step, refusal)
            return refusal_answer(api, refusal)
        charge.reply["id"] = f"chatcmpl-{step.index}"
        self._record(step, charge)
        return ok_answer(api, step.call, charge.reply)

    def _request(self, call: ChatCall) -> dict[str, Any]:
        """The body for the upstream: the served name, and a seed that depends on content, not on timing."""
        body = {"model": self._upstream.served_model, **call.body}
        if "seed" not in body:
            content = json.dumps([call.item_id, call.body], sort_keys=True).encode()
            digest = hashlib.sha256(content).hexdigest()
            with self._lock:
                count = self._asked[digest] = self._asked.get(digest, -1) + 1
            mixed = hashlib.sha256(f"{self._seed}:{digest}:{count}".encode()).digest()
            body["seed"] = int.from_bytes(mixed[:4], "big") >> 1
        return body

    def _ask(self, request: Mapping[str, Any], deadline: float) -> Charge:
        """Attempts until one is answered. Raises CallRefused: 402/429 budget, 400 upstream's refusal, 502."""
        payload = json.dumps(request).encode()
        attempt = 0
        while True:
            held = self._meter.reserve(len(payload), request["max_tokens"], deadline)
            try:
                reply = self._client.ask(payload, deadline)
            except AttemptFailed as failure:
                billed = failure.billed
                self._meter.settle(held, held.tokens if billed else 0, held.cost_usd if billed else 0.0)
                attempt += 1
                self._back_off(failure, attempt, deadline)
                continue
            usage = reply["usage"] or {
                "prompt_tokens": held.tokens - request["max_tokens"],
                "completion_tokens": request["max_tokens"],
                "total_tokens": held.tokens,
            }
            reply["usage"] = usage
            cost = self._upstream.prices.cost(usage["prompt_tokens"], usage["completion_tokens"])
            self._meter.settle(held, usage["total_tokens"], cost)
            return Charge(reply, usage["prompt_tokens"], usage["completion_tokens"], cost)

    def _back_off(self, failure: AttemptFailed, attempt: int, deadline: float) -> None:
        """Wait before the next attempt, or raise CallRefused when there should be none."""
        if failure.status in (400, 404, 413, 422):
            raise CallRefused(400, str(failure)) from failure
        wait = max(failure.wait_s, min(MAX_BACKOFF_S, 0.1 * 2**attempt) * random.uniform(0.5, 1.0))
        if not failure.retry or time.monotonic() + wait >= deadline or self._stop.wait(wait):
            tries = f" ({attempt} attempts)" if attempt > 1 else ""
            raise CallRefused(502, f"{failure}{tries}") from failure

    def _record(self, step: Step, result: Charge | CallRefused) -> None:
        charge, failure = (None, result) if isinstance(result, CallRefused) else (result, None)
        entry = ModelCall(
            index=step.index,
            api=step.api,
            model=TASK_MODEL,
            served_model=self._upstream.adapter_digest or self._upstream.served_model,
            request=step.request,
            reply=charge.reply if charge else None,
            status=failure.status if failure else 200,
            error=failure.sentence if failure else "",
            prompt_tokens=charge.prompt_tokens if charge else 0,
            completion_tokens=charge.completion_tokens if charge else 0,
            cost_usd=charge.cost_usd if charge else 0.0,
            latency_ms=(time.monotonic() - step.started) * 1000,
            item_id=step.call.item_id if step.call else None,
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
