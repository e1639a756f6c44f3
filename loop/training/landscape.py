"""How rewards lie on the task: samples from the served model, and their aggregation (pure)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from governance.digests import sha256_hex
from loop.errors import ProviderError, TrainingError
from loop.training.dataset import PromptRow
from loop.types import Landscape

RewardFunction = Callable[[Sequence[tuple[str, str]]], list[float | None]]
FEWEST_KNOWN = 2


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample: `samples` answers of at most `max_tokens` tokens for at most `limit` prompts."""

    samples: int = 8
    limit: int = 64
    max_tokens: int = 64
    temperature: float = 1.0
    seed: int = 0
    timeout_s: float = 120.0


def measure(
    base_url: str, model: str, rows: Sequence[PromptRow], rewards: RewardFunction, sampling: Sampling
) -> Landscape:
    """Sample the served model on a seeded choice of the prompts and reward every answer.

    `base_url` ends in /v1. Raises ProviderError when the model cannot be sampled, TrainingError when the evaluator
    gives no reward to learn from.
    """
    chosen = choose(rows, sampling)
    with httpx.Client(timeout=sampling.timeout_s, trust_env=False) as client:
        answers = [_sample(client, base_url, model, row, sampling) for row in chosen]
    asked = [(row.item_id, text) for row, texts in zip(chosen, answers, strict=True) for text in texts]
    values = iter(rewards(asked))
    return aggregate([[next(values) for _ in texts] for texts in answers])


def choose(rows: Sequence[PromptRow], sampling: Sampling) -> list[PromptRow]:
    """At most `limit` rows: the same ones for the same rows and seed, whatever their order."""
    keyed = sorted(rows, key=lambda row: sha256_hex(str(sampling.seed).encode() + b":" + row.to_json()))
    return keyed[: sampling.limit]


def _sample(client: httpx.Client, base_url: str, model: str, row: PromptRow, sampling: Sampling) -> list[str]:
    body = {
        "model": model, "messages": [dict(message) for message in row.prompt], "n": sampling.samples,
        "max_tokens": sampling.max_tokens, "temperature": sampling.temperature,
        "seed": int(sha256_hex(str(sampling.seed).encode() + row.to_json())[:7], 16),
    }  # fmt: skip
    try:
        reply = client.post(f"{base_url.rstrip('/')}/chat/completions", json=body)
        reply.raise_for_status()
        texts = [choice["message"]["content"] for choice in reply.json()["choices"]]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise ProviderError(f"The model {model} at {base_url} could not be sampled: {error!r}.") from error
    if len(texts) != sampling.samples or not all(isinstance(text, str) for text in texts):
        raise ProviderError(
            f"The model {model} gave {len(texts)} answers where {sampling.samples} were asked for."
        )
    return texts


def aggregate(groups: Sequence[Sequence[float | None]], turns: int = 1, goal: str = "mean") -> Landscape:
    """The landscape of reward groups, one group a prompt. Unknown rewards are excluded, and so are groups with
    fewer than two known ones; `samples_per_prompt` is the fewest samples that were drawn for a prompt.

    Raises TrainingError when nothing is known.
    """
    known = [[value for value in group if value is not None] for group in groups]
    known = [group for group in known if len(group) >= FEWEST_KNOWN]
    if not known:
        raise TrainingError(f"None of {len(groups)} prompts has two known rewards; the landscape is unknown.")
    means = [math.fsum(group) / len(group) for group in known]
    return Landscape(
        p=math.fsum(means) / len(means),
        z=sum(max(group) == min(group) for group in known) / len(known),
        prompts=len(known),
        samples_per_prompt=min(len(group) for group in groups),
        binary=all(value in (0.0, 1.0) for group in known for value in group),
        turns=turns,
        goal=goal,
    )
