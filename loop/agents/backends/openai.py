"""`openai`: agents on any OpenAI-compatible chat-completions endpoint, with tools."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import openai
from openai.types.chat import ChatCompletion

from loop.agents.backends.agent import LanguageAgent
from loop.agents.backends.conversation import Access, Fault, Reply, Tokens, fault_of
from loop.agents.workbench import ToolCall, ToolResult, ToolSpec

TIMEOUT_S = 600.0
STOPS = {"tool_calls": "calls", "length": "length", "content_filter": "refusal"}


class OpenAIChat:
    """One conversation."""

    def __init__(self, access: Access, prompts: tuple[str, str], specs: Sequence[ToolSpec]) -> None:
        system, evidence = prompts
        profile, provider = access.profile, access.provider
        self._client = openai.OpenAI(
            api_key=access.key, base_url=provider.base_url, max_retries=0, timeout=TIMEOUT_S
        )
        self._fixed: dict[str, Any] = {
            "model": profile.model,
            provider.max_tokens_field: profile.max_tokens,
        }
        tools = [
            {
                "type": "function",
                "function": {
                    "name": spec.name,
                    "description": spec.description,
                    "parameters": dict(spec.schema),
                },
            }
            for spec in specs
        ]
        if tools:
            self._fixed["tools"] = tools
        if profile.temperature is not None:
            self._fixed["temperature"] = profile.temperature
        self._messages: list[dict[str, Any]] = [
            {"role": "system", "content": system},
            {"role": "user", "content": evidence},
        ]

    def request(self) -> Mapping[str, Any]:
        """The body."""
        return {**self._fixed, "messages": list(self._messages)}

    def send(self) -> Reply:
        """One attempt. Raises Fault."""
        try:
            completion = self._client.chat.completions.create(**self.request())
        except (openai.APIError, ValueError) as error:
            raise fault_of(openai, error) from error
        if (
            not isinstance(completion, ChatCompletion)
            or not completion.choices
            or not completion.choices[0].message
        ):
            raise Fault("The provider's answer is not a chat completion.", retry=True, billed=True)
        choice = completion.choices[0]
        raw = completion.to_dict(mode="json")
        found = [call for call in choice.message.tool_calls or [] if call.type == "function"]
        self._messages.append(_assistant(choice.message.content, found))
        calls = tuple(
            ToolCall(call.id, call.function.name, _arguments(call.function.arguments)) for call in found
        )
        stop = "refusal" if choice.message.refusal else STOPS.get(choice.finish_reason, "end")
        return Reply(
            calls, stop, _tokens(completion), raw, choice.message.refusal or choice.message.content or ""
        )

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def give(self, results: Sequence[ToolResult], note: str) -> None:
        """Tool results, each its own message, and a note."""
        self._messages.extend(
            {"role": "tool", "tool_call_id": result.id, "content": result.text} for result in results
        )
        if note:
            self._messages.append({"role": "user", "content": note})


def _assistant(content: str | None, calls: Sequence[Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": content or ""}
    if calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in calls
        ]
    return message


def _arguments(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _tokens(completion: ChatCompletion) -> Tokens:
    usage = completion.usage
    if usage is None:
        return Tokens()
    details = usage.prompt_tokens_details
    read = (details.cached_tokens or 0) if details else 0
    written = (details.cache_write_tokens or 0) if details else 0
    return Tokens(max(0, usage.prompt_tokens - read - written), usage.completion_tokens, read, written)


@dataclass(frozen=True, slots=True)
class OpenAIBackend(LanguageAgent):
    """Meta-Agent and Feedback-Agent on an OpenAI-compatible model."""

    def chat(self, prompts: tuple[str, str], specs: Sequence[ToolSpec]) -> OpenAIChat:
        """A new conversation."""
        return OpenAIChat(self.access, prompts, specs)
