"""`claude`: agents on Anthropic's messages API, with tools and prompt caching."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anthropic
from anthropic.types import Message

from loop.agents.backends.agent import LanguageAgent
from loop.agents.backends.conversation import Access, Fault, Reply, Tokens, fault_of
from loop.agents.workbench import ToolCall, ToolResult, ToolSpec

TIMEOUT_S = 600.0
CACHED = {"cache_control": {"type": "ephemeral"}}
STOPS = {
    "tool_use": "calls",
    "max_tokens": "length",
    "refusal": "refusal",
    "model_context_window_exceeded": "context",
}


class ClaudeChat:
    """One conversation. Four cache marks: tools, system, the evidence, and the newest message."""

    def __init__(self, access: Access, prompts: tuple[str, str], specs: Sequence[ToolSpec]) -> None:
        system, evidence = prompts
        profile = access.profile
        self._client = anthropic.Anthropic(
            api_key=access.key, base_url=access.provider.base_url, max_retries=0, timeout=TIMEOUT_S
        )
        tools = [
            {"name": spec.name, "description": spec.description, "input_schema": dict(spec.schema)}
            for spec in specs
        ]
        if tools:
            tools[-1].update(CACHED)
        self._fixed: dict[str, Any] = {
            "model": profile.model,
            "max_tokens": profile.max_tokens,
            "system": [{"type": "text", "text": system, **CACHED}],
        }
        if tools:
            self._fixed["tools"] = tools
        if profile.temperature is not None:
            self._fixed["temperature"] = profile.temperature
        self._messages: list[dict[str, Any]] = [
            {"role": "user", "content": [{"type": "text", "text": evidence, **CACHED}]}
        ]

    def request(self) -> Mapping[str, Any]:
        """The body, with the moving cache mark on the last block."""
        messages = copy.deepcopy(self._messages)
        messages[-1]["content"][-1].update(CACHED)
        return {**self._fixed, "messages": messages}

    def send(self) -> Reply:
        """One attempt. Raises Fault."""
        body = dict(self.request())
        sampling = {"temperature": body.pop("temperature")} if "temperature" in body else None
        try:
            message = self._client.messages.create(**body, extra_body=sampling)
        except (anthropic.APIError, ValueError) as error:
            raise fault_of(anthropic, error) from error
        if not isinstance(message, Message) or not isinstance(message.content, list) or message.usage is None:
            raise Fault("The provider's answer is not a message.", retry=True, billed=True)
        raw = message.to_dict(mode="json")
        if message.content:
            self._messages.append({"role": "assistant", "content": raw["content"]})
        usage = message.usage
        tokens = Tokens(
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_input_tokens or 0,
            usage.cache_creation_input_tokens or 0,
        )
        calls = tuple(
            ToolCall(block.id, block.name, block.input if isinstance(block.input, dict) else None)
            for block in message.content
            if block.type == "tool_use"
        )
        text = "\n".join(block.text for block in message.content if block.type == "text")
        return Reply(calls, STOPS.get(message.stop_reason or "", "end"), tokens, raw, text)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def give(self, results: Sequence[ToolResult], note: str) -> None:
        """Tool results and a note as the user's next message."""
        content: list[dict[str, Any]] = [
            {
                "type": "tool_result",
                "tool_use_id": result.id,
                "content": result.text,
                "is_error": result.is_error,
            }
            for result in results
        ]
        if note:
            content.append({"type": "text", "text": note})
        if self._messages[-1]["role"] == "user":
            self._messages[-1]["content"].extend(content)
        else:
            self._messages.append({"role": "user", "content": content})


@dataclass(frozen=True, slots=True)
class ClaudeBackend(LanguageAgent):
    """Meta-Agent and Feedback-Agent on Claude."""

    def chat(self, prompts: tuple[str, str], specs: Sequence[ToolSpec]) -> ClaudeChat:
        """A new conversation."""
        return ClaudeChat(self.access, prompts, specs)
