"""Anthropic messages to chat completions and back. Pure; the same allow-list idea as `shapes`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from loop.gateway.shapes import (
    CHAT_FIELDS,
    MAX_MESSAGES,
    MAX_TOOLS,
    ChatCall,
    cache_control,
    cap_tokens,
    check_model,
    flag,
    function_tool,
    item_id,
    name_of,
    only,
    refuse,
    text_of,
)
from loop.gateway.types import TASK_MODEL

KEYS = frozenset(
    {"model", "messages", "system", "max_tokens", "temperature", "top_p", "top_k", "stop_sequences", "stream",
     "metadata", "tools", "tool_choice"}
)  # fmt: skip
STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def user_messages(content: Any) -> list[dict[str, Any]]:
    """One user message: tool results first (as tool messages), then its text."""
    if isinstance(content, str):
        return [{"role": "user", "content": content}]
    if not isinstance(content, list):
        raise refuse("A message's content must be a string or a list of blocks.")
    out: list[dict[str, Any]] = []
    texts: list[Any] = []
    for block in content:
        if not isinstance(block, dict) or block.get("type") != "tool_result":
            texts.append(block)
            continue
        only(block, {"type", "tool_use_id", "content", "is_error", "cache_control"}, "A tool_result block")
        cache_control(block)
        body = text_of(block.get("content", ""), "A tool result")
        out.append(
            {
                "role": "tool",
                "content": body,
                "tool_call_id": name_of(block.get("tool_use_id"), "tool_use_id"),
            }
        )
    if texts:
        out.append({"role": "user", "content": text_of(texts, "A message's content")})
    return out


def assistant_message(content: Any) -> dict[str, Any]:
    """One assistant message with its tool uses."""
    if isinstance(content, str):
        return {"role": "assistant", "content": content}
    if not isinstance(content, list):
        raise refuse("A message's content must be a string or a list of blocks.")
    calls: list[dict[str, Any]] = []
    texts: list[Any] = []
    for block in content:
        if not isinstance(block, dict) or block.get("type") != "tool_use":
            texts.append(block)
            continue
        only(block, {"type", "id", "name", "input", "cache_control"}, "A tool_use block")
        cache_control(block)
        function = {
            "name": name_of(block.get("name"), "A function name"),
            "arguments": json.dumps(block.get("input")),
        }
        calls.append(
            {"id": name_of(block.get("id"), "A tool_use id"), "type": "function", "function": function}
        )
    text = text_of(texts, "A message's content")
    return {"role": "assistant", "content": text or None, "tool_calls": calls} if calls else {
        "role": "assistant", "content": text,
    }  # fmt: skip


def messages_of(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """System text and messages in chat-completions form."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not 0 < len(messages) <= MAX_MESSAGES:
        raise refuse(f"messages must be a list of 1 to {MAX_MESSAGES} messages.")
    system = text_of(body["system"], "system") if body.get("system") is not None else ""
    out: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
            raise refuse("A message's role must be user or assistant.")
        only(message, {"role", "content"}, "A message")
        if message["role"] == "user":
            out.extend(user_messages(message.get("content")))
        else:
            out.append(assistant_message(message.get("content")))
    return out


def tools_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Client-side tools; anything with a provider's type is refused."""
    tools = body.get("tools")
    if not tools:
        return {}
    if not isinstance(tools, list) or len(tools) > MAX_TOOLS:
        raise refuse(f"tools must be a list of at most {MAX_TOOLS} tools.")
    out: list[dict[str, Any]] = []
    for tool in tools:
        if not isinstance(tool, dict) or tool.get("type", "custom") != "custom":
            raise refuse("Only client-side tools are allowed; the provider's own tools are refused.")
        only(tool, {"type", "name", "description", "input_schema", "cache_control"}, "A tool")
        cache_control(tool)
        out.append(function_tool(tool.get("name"), tool.get("description"), tool.get("input_schema")))
    choice = body.get("tool_choice") or {"type": "auto"}
    if not isinstance(choice, dict):
        raise refuse("tool_choice must be an object.")
    only(choice, {"type", "name", "disable_parallel_tool_use"}, "tool_choice")
    if choice.get("type") in tuple(CHOICES):
        return {"tools": out, "tool_choice": CHOICES[choice["type"]]}
    if choice.get("type") != "tool" or choice.get("name") not in [tool["function"]["name"] for tool in out]:
        raise refuse("tool_choice must be auto, any, none or one of the tools sent.")
    return {"tools": out, "tool_choice": {"type": "function", "function": {"name": choice["name"]}}}


def messages_call(body: Mapping[str, Any], max_completion_tokens: int) -> ChatCall:
    """Check an Anthropic messages body and translate it. Raises CallRefused (400)."""
    only(body, KEYS, "A message request")
    check_model(body)
    if body.get("max_tokens") is None:
        raise refuse("max_tokens is required.")
    out: dict[str, Any] = {"messages": messages_of(body)}
    out["max_tokens"] = cap_tokens(body["max_tokens"], max_completion_tokens)
    for name in ("temperature", "top_p", "top_k"):
        if body.get(name) is not None:
            out[name] = CHAT_FIELDS[name](body[name])
    if body.get("stop_sequences"):
        out["stop"] = CHAT_FIELDS["stop"](body["stop_sequences"])
    out.update(tools_of(body))
    stream = flag("stream")(body.get("stream") or False)
    return ChatCall(out, stream, True, item_id(body, frozenset({"item_id", "user_id"})))


def arguments_of(text: Any) -> Any:
    """Tool arguments as an object; what a model wrote badly is handed on as {"_raw": text}."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {"_raw": str(text)}
    return value if isinstance(value, dict) else {"_raw": str(text)}


def message_reply(reply: Mapping[str, Any]) -> dict[str, Any]:
    """A checked chat completion as an Anthropic message."""
    choice = reply["choices"][0]
    message = choice["message"]
    content: list[dict[str, Any]] = []
    if message.get("content"):
        content.append({"type": "text", "text": message["content"]})
    for call in message.get("tool_calls") or []:
        function = call["function"]
        content.append(
            {"type": "tool_use", "id": call["id"], "name": function["name"],
             "input": arguments_of(function["arguments"])}
        )  # fmt: skip
    usage = reply["usage"]
    return {
        "id": "msg_" + reply["id"],
        "type": "message",
        "role": "assistant",
        "model": TASK_MODEL,
        "content": content,
        "stop_reason": STOP_REASONS.get(choice["finish_reason"], "end_turn"),
        "stop_sequence": None,
        "usage": {"input_tokens": usage["prompt_tokens"], "output_tokens": usage["completion_tokens"]},
    }
