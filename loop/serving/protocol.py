"""The requests and replies of the server: OpenAI's chat and text completions, as far as Pawl needs them.

Unknown fields are ignored (clients send metadata and the like); known ones are checked, and what cannot be
honoured is refused by name.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loop.serving.engine import Engine, RequestRefused, Sampling, Written

MAX_SAMPLES = 128
MAX_PROMPTS = 512
DEFAULT_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Ask:
    """A checked request: token ids of each prompt and how to continue them."""

    model: str
    prompts: tuple[tuple[int, ...], ...]
    sampling: Sampling
    logprobs: bool


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a request body. Raises RequestRefused."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestRefused(f"The body is not JSON ({error}).") from error
    if not isinstance(value, dict):
        raise RequestRefused("The body must be a JSON object.")
    return value


def text_field(body: Mapping[str, Any], name: str) -> str:
    """A required string that is not empty. Raises RequestRefused."""
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise RequestRefused(f"{name} must be a string that is not empty.")
    return value


def _number(body: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise RequestRefused(f"{name} must be a number from {low} to {high}, not {value!r:.40}.")
    return float(value)


def _whole(body: Mapping[str, Any], name: str, default: int, high: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= high:
        raise RequestRefused(f"{name} must be a whole number from 1 to {high}, not {value!r:.40}.")
    return value


def _seed(body: Mapping[str, Any]) -> int | None:
    value = body.get("seed")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise RequestRefused(f"seed must be a whole number of at most 64 bits, not {value!r:.40}.")
    return value % 2**63


def _stops(body: Mapping[str, Any]) -> tuple[str, ...]:
    value = body.get("stop")
    stops = [] if value is None else [value] if isinstance(value, str) else value
    if (
        not isinstance(stops, list)
        or not all(isinstance(stop, str) and stop for stop in stops)
        or len(stops) > 4
    ):
        raise RequestRefused("stop must be a string or at most four strings, none empty.")
    return tuple(stops)


def _sampling(body: Mapping[str, Any], context: int) -> Sampling:
    for name in ("stream", "echo", "tools", "functions"):
        if body.get(name):
            raise RequestRefused(f"{name} is not supported by this server; leave it out.")
    tokens = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    return Sampling(
        temperature=_number(body, "temperature", 1.0, 0.0, 2.0),
        top_p=_number(body, "top_p", 1.0, 0.0, 1.0),
        max_tokens=_whole(body, tokens, min(DEFAULT_TOKENS, context), context),
        seed=_seed(body),
        stop=_stops(body),
        n=_whole(body, "n", 1, MAX_SAMPLES),
    )


def _content(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
        for part in value
    ):
        return "".join(part["text"] for part in value)
    raise RequestRefused("A message's content must be text or a list of text parts.")


def _messages(body: Mapping[str, Any]) -> list[dict[str, str]]:
    value = body.get("messages")
    if not isinstance(value, list) or not value:
        raise RequestRefused("messages must be a list that is not empty.")
    if not all(isinstance(message, dict) and isinstance(message.get("role"), str) for message in value):
        raise RequestRefused("Every message must be an object with a role and content.")
    return [{"role": message["role"], "content": _content(message.get("content"))} for message in value]


def parse_chat(body: Mapping[str, Any], engine: Engine) -> Ask:
    """A checked chat completion. Raises RequestRefused."""
    prompt = tuple(engine.chat(_messages(body)))
    return Ask(
        text_field(body, "model"), (prompt,), _sampling(body, engine.context), bool(body.get("logprobs"))
    )


def parse_completion(body: Mapping[str, Any], engine: Engine) -> Ask:
    """A checked text completion of one prompt or a list of prompts. Raises RequestRefused."""
    value = body.get("prompt")
    prompts = [value] if isinstance(value, str) else value
    if not isinstance(prompts, list) or not 1 <= len(prompts) <= MAX_PROMPTS:
        raise RequestRefused(f"prompt must be a string or a list of 1 to {MAX_PROMPTS} strings.")
    if not all(isinstance(prompt, str) for prompt in prompts):
        raise RequestRefused("Every prompt must be a string.")
    ids = tuple(tuple(engine.encode(prompt)) for prompt in prompts)
    wanted = body.get("logprobs") is not None and body["logprobs"] is not False
    return Ask(text_field(body, "model"), ids, _sampling(body, engine.context), wanted)


def _reply(kind: str, ask: Ask, choices: list[dict[str, Any]], written: Sequence[Written]) -> dict[str, Any]:
    read = sum(map(len, ask.prompts))
    wrote = sum(len(sample.ids) + (sample.finish == "stop") for sample in written)
    return {
        "id": f"cmpl-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": ask.model,
        "choices": choices,
        "usage": {"prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote},
    }


def chat_reply(ask: Ask, written: Sequence[Written], engine: Engine) -> dict[str, Any]:
    """OpenAI's chat.completion object."""
    choices: list[dict[str, Any]] = []
    for index, sample in enumerate(written):
        tokens: list[dict[str, Any]] = [
            {"token": engine.decode([token]), "logprob": logprob, "bytes": None, "top_logprobs": []}
            for token, logprob in zip(sample.ids, sample.logprobs, strict=True)
        ]
        choices.append(
            {
                "index": index,
                "message": {"role": "assistant", "content": sample.text},
                "finish_reason": sample.finish,
                "logprobs": {"content": tokens} if ask.logprobs else None,
            }
        )
    return _reply("chat.completion", ask, choices, written)


def completion_reply(ask: Ask, written: Sequence[Written], engine: Engine) -> dict[str, Any]:
    """OpenAI's text_completion object; choices in the order of prompts, then samples."""
    choices: list[dict[str, Any]] = []
    for index, sample in enumerate(written):
        logprobs = {
            "tokens": [engine.decode([token]) for token in sample.ids],
            "token_logprobs": list(sample.logprobs),
        }
        choices.append(
            {
                "index": index,
                "text": sample.text,
                "finish_reason": sample.finish,
                "logprobs": logprobs if ask.logprobs else None,
            }
        )
    return _reply("text_completion", ask, choices, written)
