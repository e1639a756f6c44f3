"""What a served model must offer, and the one sampling loop that every engine shares.

An engine turns token ids into logits; everything random happens here, from a generator that depends on the
request's seed and the number of the sample alone. So a request gives the same text whatever else is running.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from loop.errors import LoopError

Logits = NDArray[np.float32]


class RequestRefused(LoopError):
    """A request that the server will not serve; `status` is the HTTP status that says so."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


class ModelUnusable(LoopError):
    """A model or adapter folder that this engine cannot serve; the message says why."""


class Session(Protocol):
    """One sequence that is being read and written."""

    def read(self, ids: Sequence[int]) -> Logits:
        """Append at least one token and return the logits (vocabulary,) after the last of them."""
        ...

    def fork(self) -> Session:
        """An independent copy that goes on from here."""
        ...


class Engine(Protocol):
    """A causal language model with LoRA adapters under served names; safe between threads."""

    name: str
    context: int
    ends: frozenset[int]

    def encode(self, text: str) -> list[int]:
        """Token ids of a plain prompt."""
        ...

    def chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Token ids of a conversation of {role, content}, ready for the assistant's turn."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, special tokens left out."""
        ...

    def load(self, adapter: str, folder: Path) -> None:
        """Serve a PEFT LoRA folder under a new name. Raises ModelUnusable."""
        ...

    def unload(self, adapter: str) -> None:
        """Forget an adapter; sessions that use it may still finish."""
        ...

    def open(self, adapter: str | None, capacity: int) -> Session:
        """A new sequence of at most `capacity` tokens, on an adapter or (None) the base model."""
        ...


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to write: temperature 0 is greedy; `seed=None` draws from the system's entropy."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 16
    seed: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1


@dataclass(frozen=True, slots=True)
class Written:
    """One sample: `finish` is stop or length; log-probabilities (nats) are of the model at temperature 1."""

    text: str
    ids: tuple[int, ...]
    finish: str
    logprobs: tuple[float, ...] = field(default=())


def pick(logits: Logits, sampling: Sampling, rng: np.random.Generator) -> int:
    """One token id from logits (vocabulary,): greedy at temperature 0, else nucleus sampling."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    scaled = logits.astype(np.float64)
    weights = np.exp((scaled - scaled.max()) / sampling.temperature)
    if sampling.top_p < 1:
        order = np.argsort(-weights, kind="stable")
        running = np.cumsum(weights[order])
        kept = int(np.searchsorted(running, sampling.top_p * running[-1])) + 1
        weights[order[kept:]] = 0
    running = np.cumsum(weights)
    token = int(np.searchsorted(running, rng.random() * running[-1], side="right"))
    return min(token, len(running) - 1)


def _logprob(logits: Logits, token: int) -> float:
    top = float(logits.max())
    return float(logits[token]) - top - math.log(float(np.exp(logits - top).sum(dtype=np.float64)))


def _cut(text: str, stops: tuple[str, ...]) -> str | None:
    places = [at for at in (text.find(stop) for stop in stops) if at >= 0]
    return text[: min(places)] if places else None


def _write_one(
    engine: Engine, session: Session, logits: Logits, sampling: Sampling, rng: np.random.Generator
) -> Written:
    ids: list[int] = []
    logprobs: list[float] = []
    while True:
        if not np.isfinite(logits).all():
            raise RequestRefused("The model's logits are not finite; this adapter or model is broken.", 500)
        token = pick(logits, sampling, rng)
        if token in engine.ends:
            return Written(engine.decode(ids), tuple(ids), "stop", tuple(logprobs))
        ids.append(token)
        logprobs.append(_logprob(logits, token))
        cut = _cut(engine.decode(ids), sampling.stop) if sampling.stop else None
        if cut is not None:
            return Written(cut, tuple(ids), "stop", tuple(logprobs))
        if len(ids) == sampling.max_tokens:
            return Written(engine.decode(ids), tuple(ids), "length", tuple(logprobs))
        logits = session.read([token])


def write(engine: Engine, adapter: str | None, prompt: Sequence[int], sampling: Sampling) -> list[Written]:
    """`sampling.n` independent continuations of a prompt. Raises RequestRefused when it does not fit."""
    if not prompt:
        raise RequestRefused("The prompt is empty; send at least one token.")
    capacity = len(prompt) + sampling.max_tokens
    if capacity > engine.context:
        raise RequestRefused(
            f"The prompt ({len(prompt)} tokens) and max_tokens ({sampling.max_tokens}) exceed the model's "
            f"context of {engine.context} tokens; shorten one of them."
        )
    session = engine.open(adapter, capacity)
    logits = session.read(prompt)
    samples = []
    for number in range(sampling.n):
        rng = np.random.default_rng(None if sampling.seed is None else [sampling.seed, number])
        last = number == sampling.n - 1
        samples.append(_write_one(engine, session if last else session.fork(), logits, sampling, rng))
    return samples
