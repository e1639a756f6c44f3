"""Server-sent events made from a whole answer, for clients that ask for a stream. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def chat_events(reply: Mapping[str, Any], include_usage: bool) -> Iterator[bytes]:
    """A checked chat completion as chat.completion.chunk events, ending in [DONE]."""
    choice = reply["choices"][0]
    base = {
        "id": reply["id"],
        "object": "chat.completion.chunk",
        "created": reply["created"],
        "model": reply["model"],
    }

    def chunk(delta: Mapping[str, Any], finish: str | None, logprobs: Any = None) -> bytes:
        entry = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
        return event({**base, "choices": [entry], **({"usage": None} if include_usage else {})})

    message = choice["message"]
    yield chunk({"role": "assistant", "content": ""}, None)
    if message.get("content"):
        yield chunk({"content": message["content"]}, None, choice.get("logprobs"))
    for index, call in enumerate(message.get("tool_calls") or []):
        yield chunk({"tool_calls": [{"index": index, **call}]}, None)
    yield chunk({}, choice["finish_reason"])
    if include_usage:
        yield event({**base, "choices": [], "usage": reply["usage"]})
    yield b"data: [DONE]\n\n"


def message_events(message: Mapping[str, Any]) -> Iterator[bytes]:
    """An Anthropic message as its named events, from message_start to message_stop."""
    usage = message["usage"]
    start = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 0}}
    yield event({"type": "message_start", "message": start}, named=True)
    for index, block in enumerate(message["content"]):
        if block["type"] == "text":
            empty: dict[str, Any] = {"type": "text", "text": ""}
            delta = {"type": "text_delta", "text": block["text"]}
        else:
            empty = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        yield event({"type": "content_block_start", "index": index, "content_block": empty}, named=True)
        yield event({"type": "content_block_delta", "index": index, "delta": delta}, named=True)
        yield event({"type": "content_block_stop", "index": index}, named=True)
    ending = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield event(
        {"type": "message_delta", "delta": ending, "usage": {"output_tokens": usage["output_tokens"]}},
        named=True,
    )
    yield event({"type": "message_stop"}, named=True)


def event(data: Mapping[str, Any], *, named: bool = False) -> bytes:
    """One server-sent event; a named one carries its `type` as the event's name."""
    head = f"event: {data['type']}\n" if named else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()
