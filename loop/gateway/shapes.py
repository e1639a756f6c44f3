"""The allow-list of what a harness may send. Pure: JSON in, a normal chat-completions body out.

Everything that is not named here is refused with a sentence, because a provider is a way to the network
(search tools, image addresses, file ids).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from loop.gateway.types import TASK_MODEL, CallRefused

MAX_MESSAGES = 512
MAX_TOOLS = 64
MAX_STOPS = 16
MAX_DEPTH = 64
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
MAX_ITEM_ID = 100
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# No set, nor are names below looked up in one: what a harness sent in the place of a word may be a list.
ROLES = ("assistant", "developer", "system", "tool", "user")


@dataclass(frozen=True, slots=True)
class ChatCall:
    """One accepted call. `body` holds `messages` and sampling fields in chat-completions form, without a
    model; every message's content is a string (or None beside tool calls)."""

    body: Mapping[str, Any]
    stream: bool
    include_usage: bool
    item_id: str | None


def refuse(sentence: str) -> CallRefused:
    """A 400 with this sentence."""
    return CallRefused(400, sentence)


def number(name: str, low: float, high: float) -> Callable[[Any], Any]:
    """A check for a number in [low, high]."""

    def check(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise refuse(f"{name} must be a number.")
        if not low <= value <= high:
            raise refuse(f"{name} must be between {low:g} and {high:g}.")
        return value

    return check


def integer(name: str, low: int, high: int) -> Callable[[Any], int]:
    """A check for an integer in [low, high]."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise refuse(f"{name} must be an integer between {low} and {high}.")
        return value

    return check


def flag(name: str) -> Callable[[Any], bool]:
    """A check for true or false."""

    def check(value: Any) -> bool:
        if not isinstance(value, bool):
            raise refuse(f"{name} must be true or false.")
        return value

    return check


def stops(value: Any) -> list[str]:
    """`stop` as a list of short strings."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or len(values) > MAX_STOPS:
        raise refuse(f"stop must be a string or a list of at most {MAX_STOPS} strings.")
    if not all(isinstance(entry, str) and 0 < len(entry) <= 200 for entry in values):
        raise refuse("Every stop sequence must be a string of 1 to 200 characters.")
    return values


def response_format(value: Any) -> dict[str, str]:
    """`response_format` without schemas."""
    if value not in ({"type": "text"}, {"type": "json_object"}):
        raise refuse('response_format must be {"type": "text"} or {"type": "json_object"}.')
    return dict(value)


CHAT_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "temperature": number("temperature", 0, 2),
    "top_p": number("top_p", 0, 1),
    "top_k": integer("top_k", -1, 10_000),
    "min_p": number("min_p", 0, 1),
    "presence_penalty": number("presence_penalty", -2, 2),
    "frequency_penalty": number("frequency_penalty", -2, 2),
    "seed": integer("seed", -(2**31), 2**53),
    "logprobs": flag("logprobs"),
    "top_logprobs": integer("top_logprobs", 0, 20),
    "parallel_tool_calls": flag("parallel_tool_calls"),
    "stop": stops,
    "response_format": response_format,
}
CHAT_KEYS = frozenset(CHAT_FIELDS) | {
    "model", "messages", "max_tokens", "max_completion_tokens", "n", "stream", "stream_options", "metadata",
    "user", "tools", "tool_choice",
}  # fmt: skip


def parse_json(raw: bytes) -> dict[str, Any]:
    """A request body as an object. Raises CallRefused (400) for anything else, NaN included."""

    def constant(name: str) -> Any:
        raise refuse(f"The body holds {name}, which is not JSON.")

    try:
        body = json.loads(raw.decode("utf-8"), parse_constant=constant)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise refuse("The body is not valid JSON in UTF-8.") from error
    if not isinstance(body, dict):
        raise refuse("The body must be a JSON object.")
    check_storable(body)
    return body


def check_storable(body: Mapping[str, Any]) -> None:
    """Refuse what cannot be kept or sent on whole: deep nesting, numbers without an end, NUL, half characters."""
    level: list[Any] = [body]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += (*value, *value.values())
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str) and UNSTORABLE.search(value):
                raise refuse("The body holds NUL or half of a character; send whole text.")
            elif isinstance(value, float) and not math.isfinite(value):
                raise refuse("The body holds a number that is too large.")
        if not below:
            return
        level = below
    raise refuse(f"The body is nested more than {MAX_DEPTH} deep.")


def only(value: Mapping[str, Any], allowed: frozenset[str] | set[str], where: str) -> None:
    """Refuse any key of `value` outside `allowed`."""
    extra = sorted(str(key)[:60] for key in value if key not in allowed)
    if extra:
        raise refuse(
            f"{where} does not take {', '.join(extra[:5])}; only {', '.join(sorted(allowed))} may be sent."
        )


def check_model(body: Mapping[str, Any]) -> None:
    """The one model there is."""
    if body.get("model") != TASK_MODEL:
        raise refuse(f'The model must be "{TASK_MODEL}"; a harness has no other.')


def item_id(body: Mapping[str, Any], allowed: frozenset[str]) -> str | None:
    """`metadata.item_id`, which ties a call to a task item; at most 100 characters."""
    metadata = body.get("metadata")
    if metadata is None:
        return None
    if not isinstance(metadata, dict):
        raise refuse("metadata must be an object.")
    only(metadata, allowed, "metadata")
    for key, value in metadata.items():
        if not isinstance(value, str) or len(value) > MAX_ITEM_ID:
            raise refuse(f"metadata.{key} must be a string of at most {MAX_ITEM_ID} characters.")
    return metadata.get("item_id")


def text_of(content: Any, where: str) -> str:
    """Content as one string: a string, or a list of plain text blocks."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise refuse(f"{where} must be a string or a list of text blocks.")
    parts: list[str] = []
    for block in content:
        if (
            not isinstance(block, dict)
            or block.get("type") != "text"
            or not isinstance(block.get("text"), str)
        ):
            raise refuse(f"{where} may hold text blocks only; images, files, audio and links are refused.")
        only(block, {"type", "text", "cache_control"}, f"A text block of {where}")
        cache_control(block)
        parts.append(block["text"])
    return "".join(parts)


def cache_control(block: Mapping[str, Any]) -> None:
    """Prompt-cache marks are accepted and ignored."""
    mark = block.get("cache_control")
    if mark is not None and (not isinstance(mark, dict) or set(mark) - {"type", "ttl"}):
        raise refuse("cache_control may hold type and ttl only.")


def name_of(value: Any, where: str) -> str:
    """A function name or call id: 1 to 128 printable ASCII characters."""
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= 128
        or not value.isascii()
        or not value.isprintable()
    ):
        raise refuse(f"{where} must be 1 to 128 printable ASCII characters.")
    return value


def tool_call(value: Any) -> dict[str, Any]:
    """One function call of an earlier assistant message."""
    if not isinstance(value, dict) or value.get("type", "function") != "function":
        raise refuse("A tool call must be of type function.")
    only(value, {"id", "type", "function", "index"}, "A tool call")
    function = value.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        raise refuse("A tool call needs function.name and function.arguments as strings.")
    only(function, {"name", "arguments"}, "A tool call's function")
    return {
        "id": name_of(value.get("id"), "A tool call's id"),
        "type": "function",
        "function": {
            "name": name_of(function.get("name"), "A function name"),
            "arguments": function["arguments"],
        },
    }


def chat_message(value: Any) -> dict[str, Any]:
    """One message in normal form."""
    if not isinstance(value, dict):
        raise refuse("Every message must be an object.")
    role = value.get("role")
    if role not in ROLES:
        raise refuse(f"A message's role must be one of {', '.join(ROLES)}.")
    only(value, {"role", "content", "name", "tool_calls", "tool_call_id", "refusal"}, "A message")
    message: dict[str, Any] = {"role": "system" if role == "developer" else role}
    calls = value.get("tool_calls")
    if calls and role == "assistant":
        if not isinstance(calls, list) or len(calls) > MAX_TOOLS:
            raise refuse(f"tool_calls must be a list of at most {MAX_TOOLS} calls.")
        message["tool_calls"] = [tool_call(entry) for entry in calls]
    elif calls:
        raise refuse("Only assistant messages may hold tool_calls.")
    content = value.get("content")
    message["content"] = None if content is None and calls else text_of(content, "A message's content")
    if role == "tool":
        message["tool_call_id"] = name_of(value.get("tool_call_id"), "tool_call_id")
    return message


def messages_of(value: Any) -> list[dict[str, Any]]:
    """All messages in normal form, at least one."""
    if not isinstance(value, list) or not 0 < len(value) <= MAX_MESSAGES:
        raise refuse(f"messages must be a list of 1 to {MAX_MESSAGES} messages.")
    return [chat_message(entry) for entry in value]


def function_tool(name: Any, description: Any, schema: Any) -> dict[str, Any]:
    """One client-side function in chat-completions form."""
    if description is not None and not isinstance(description, str):
        raise refuse("A function's description must be a string.")
    if not isinstance(schema, dict):
        raise refuse("A function's parameters must be a JSON schema object.")
    if any(word in json.dumps(schema) for word in REFERENCES):
        raise refuse("A function's schema may not refer to other documents.")
    function = {"name": name_of(name, "A function name"), "parameters": schema}
    return {"type": "function", "function": function | ({"description": description} if description else {})}


def chat_tools(body: Mapping[str, Any]) -> dict[str, Any]:
    """`tools` and `tool_choice`: functions that the harness itself carries out, and nothing else."""
    tools = body.get("tools")
    if not tools:
        return {}
    if not isinstance(tools, list) or len(tools) > MAX_TOOLS:
        raise refuse(f"tools must be a list of at most {MAX_TOOLS} functions.")
    out: list[dict[str, Any]] = []
    for tool in tools:
        if (
            not isinstance(tool, dict)
            or tool.get("type") != "function"
            or not isinstance(tool.get("function"), dict)
        ):
            raise refuse("Only client-side function tools are allowed; the provider's own tools are refused.")
        only(tool, {"type", "function"}, "A tool")
        function = tool["function"]
        only(function, {"name", "description", "parameters", "strict"}, "A function")
        out.append(
            function_tool(function.get("name"), function.get("description"), function.get("parameters", {}))
        )
    choice = body.get("tool_choice", "auto")
    if choice in ("auto", "none", "required"):
        return {"tools": out, "tool_choice": choice}
    named = choice.get("function") if isinstance(choice, dict) else None
    if not isinstance(named, dict) or named.get("name") not in [tool["function"]["name"] for tool in out]:
        raise refuse("tool_choice must be auto, none, required or one of the functions sent.")
    return {"tools": out, "tool_choice": {"type": "function", "function": {"name": named["name"]}}}


def cap_tokens(value: Any, cap: int) -> int:
    """The completion length that is really asked for: at most `cap`."""
    return cap if value is None else min(integer("max_tokens", 1, 2**31)(value), cap)


def chat_call(body: Mapping[str, Any], max_completion_tokens: int) -> ChatCall:
    """Check an OpenAI chat-completions body. Raises CallRefused (400)."""
    only(body, CHAT_KEYS, "A chat completion")
    check_model(body)
    if body.get("n") not in (None, 1):
        raise refuse("n must be 1; ask again for another sample.")
    stream = flag("stream")(body.get("stream") or False)
    options = body.get("stream_options") or {}
    if not isinstance(options, dict) or set(options) - {"include_usage", "include_obfuscation"}:
        raise refuse("stream_options may hold include_usage only.")
    out: dict[str, Any] = {"messages": messages_of(body.get("messages"))}
    for name, check in CHAT_FIELDS.items():
        if body.get(name) is not None:
            out[name] = check(body[name])
    asked = body.get("max_completion_tokens")
    out["max_tokens"] = cap_tokens(body.get("max_tokens") if asked is None else asked, max_completion_tokens)
    out.update(chat_tools(body))
    return ChatCall(out, stream, bool(options.get("include_usage")), item_id(body, frozenset({"item_id"})))
