"""The gateway through real SDKs on its unix socket: what is answered, translated and refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from loop.gateway import GatewayLimits, Upstream, open_gateway
from loop.gateway.anthropic_shapes import messages_call
from loop.gateway.shapes import chat_call, parse_json
from loop.gateway.types import CallRefused
from tests.loop.fake_providers import Fault, Say, fake_provider
from tests.loop.gateway_bench import HELLO, Bench, opened


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with opened(tmp_path) as made:
        yield made


def test_the_openai_sdk_gets_an_answer_and_the_call_is_recorded(bench: Bench) -> None:
    bench.provider.plan(Say("four", tokens=(12, 3)))
    reply = bench.openai.chat.completions.create(
        model="task-model",
        messages=[{"role": "user", "content": "2+2?"}],
        metadata={"item_id": "q1"},
        temperature=0,
    )
    assert reply.choices[0].message.content == "four"
    assert reply.model == "task-model"
    call = bench.session.calls[0]
    assert (call.index, call.api, call.status, call.item_id) == (0, "openai", 200, "q1")
    assert (call.prompt_tokens, call.completion_tokens, call.served_model) == (12, 3, "d1")
    assert call.request["messages"] == [{"role": "user", "content": "2+2?"}]
    assert call.reply is not None and call.reply["choices"][0]["message"]["content"] == "four"
    assert (call.base_model, call.adapter_digest, call.reported_model) == ("b1", "d1", "base")
    assert (call.source, call.attempts, call.reserved_tokens) == ("provider", 1, 0) and call.latency_ms > 0
    sent = bench.provider.seen[0]
    assert sent.headers["authorization"] == "Bearer sk-secret-of-ours"
    assert sent.body["model"] == "base" and "metadata" not in sent.body
    assert bench.session.usage() == (1, 15, 0.0)


def test_the_anthropic_sdk_gets_an_answer_with_system_text_and_tools(bench: Bench) -> None:
    bench.provider.plan(Say("let me see", tools=(("look", {"cell": 3}),)))
    reply = bench.anthropic.messages.create(
        model="task-model",
        max_tokens=50,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {"role": "user", "content": "look"},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {"cell": 1}}],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "dark"}]},
        ],
        tools=[{"name": "look", "description": "reads a cell", "input_schema": {"type": "object"}}],
    )
    assert [block.type for block in reply.content] == ["text", "tool_use"]
    assert reply.stop_reason == "tool_use" and reply.usage.input_tokens == 10
    sent = bench.provider.seen[0].body
    assert [message["role"] for message in sent["messages"]] == ["system", "user", "assistant", "tool"]
    assert sent["messages"][2]["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"cell": 1}'}
    assert sent["tools"][0]["function"]["name"] == "look" and sent["max_tokens"] == 50
    assert bench.session.calls[0].api == "anthropic"


def test_the_openai_sdk_reads_a_stream_made_from_the_whole_answer(bench: Bench) -> None:
    bench.provider.plan(Say("a stream", tools=(("f", {"x": 1}),)))
    with bench.openai.chat.completions.stream(
        model="task-model",
        messages=[{"role": "user", "content": "go"}],
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        stream_options={"include_usage": True},
    ) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "a stream"
    calls = final.choices[0].message.tool_calls
    assert calls is not None and calls[0].function.arguments == '{"x": 1}'
    assert final.usage is not None and final.usage.total_tokens == 15


def test_the_anthropic_sdk_reads_a_stream_made_from_the_whole_answer(bench: Bench) -> None:
    bench.provider.plan(Say("a stream", tools=(("f", {"x": 1}),)))
    with bench.anthropic.messages.stream(
        model="task-model",
        max_tokens=9,
        messages=[{"role": "user", "content": "go"}],
        tools=[{"name": "f", "input_schema": {"type": "object"}}],
    ) as stream:
        texts = list(stream.text_stream)
        final = stream.get_final_message()
    assert texts == ["a stream"]
    assert final.content[1].type == "tool_use" and final.content[1].input == {"x": 1}
    assert final.usage.output_tokens == 5 and final.stop_reason == "tool_use"


def test_both_sdks_can_list_the_one_model(bench: Bench) -> None:
    assert [model.id for model in bench.openai.models.list()] == ["task-model"]
    assert [model.id for model in bench.anthropic.models.list()] == ["task-model"]


IMAGE = {"type": "image_url", "image_url": {"url": "HTTPS://x"}}
DOCUMENT = {"type": "document", "source": {"type": "url", "url": "x"}}
REMOTE_SCHEMA = {"type": "function", "function": {"name": "f", "parameters": {"$ref": "HTTPS://x"}}}
REFUSED_CHATS: list[tuple[dict[str, Any], str]] = [
    ({"model": "gpt-9"}, "task-model"),
    ({"n": 2}, "n must be 1"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"tools": [{"type": "web_search"}]}, "client-side function tools"),
    ({"tools": [REMOTE_SCHEMA]}, "refer"),
    ({"messages": []}, "1 to 512"),
    ({"messages": [{"role": "root", "content": "x"}]}, "role must be"),
    ({"messages": [{"role": "user", "content": "x", "audio": {}}]}, "does not take audio"),
    (
        {"messages": [{"role": "user", "content": [IMAGE]}]},
        "text blocks only",
    ),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "url": "y"}]}]},
     "does not take url"),
    ({"messages": [{"role": "user", "content": None}]}, "must be a string"),
    ({"metadata": {"item_id": "a", "other": "b"}}, "does not take other"),
    ({"metadata": {"item_id": 3}}, "at most 100"),
    ({"temperature": "hot"}, "temperature must be a number"),
    ({"temperature": 9}, "between 0 and 2"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"stream": "yes"}, "stream must be"),
    ({"stop": ["a"] * 17}, "at most 16"),
    ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
    ({"tool_choice": {"type": "function", "function": {"name": "g"}},
      "tools": [{"type": "function", "function": {"name": "f"}}]}, "tool_choice"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "words"), REFUSED_CHATS)
def test_a_chat_outside_the_allow_list_is_refused_with_a_sentence(
    bench: Bench, fields: dict[str, Any], words: str
) -> None:
    response = bench.chat(**fields)
    assert response.status_code == 400 and words in bench.sentence(response)
    assert bench.provider.seen == []
    assert bench.session.calls[0].status == 400 and words in bench.session.calls[0].error


REFUSED_MESSAGES: list[tuple[dict[str, Any], str]] = [
    ({"model": "claude-x"}, "task-model"),
    ({"mcp_servers": []}, "mcp_servers"),
    ({"max_tokens": None}, "max_tokens is required"),
    ({"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}, "client-side tools"),
    (
        {"messages": [{"role": "user", "content": [DOCUMENT]}]},
        "text blocks only",
    ),
    ({"messages": [{"role": "system", "content": "x"}]}, "user or assistant"),
    ({"system": [{"type": "image"}]}, "text blocks only"),
    ({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t",
      "content": [{"type": "image"}]}]}]}, "text blocks only"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "words"), REFUSED_MESSAGES)
def test_a_message_outside_the_allow_list_is_refused_with_a_sentence(
    bench: Bench, fields: dict[str, Any], words: str
) -> None:
    response = bench.message(**fields)
    assert response.status_code == 400 and words in bench.sentence(response)
    assert response.json()["type"] == "error"
    assert bench.provider.seen == []


@pytest.mark.parametrize("raw", [b"{", b"[]", b'{"model": NaN}', b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_not_a_json_object_is_refused(bench: Bench, raw: bytes) -> None:
    assert bench.http.post("/v1/chat/completions", content=raw).status_code == 400
    assert bench.chat().status_code == 200


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"properties": value}
    return {"type": "function", "function": {"name": "f", "parameters": value}}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tools": [nested(900)]}, "nested more than"),
        ({"messages": [{"role": "user", "content": "a\0b"}]}, "NUL"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "half of a character"),
        ({"metadata": {"item_id": "x" * 101}}, "at most 100"),
    ],
)
def test_what_no_database_can_keep_is_refused(bench: Bench, fields: dict[str, Any], words: str) -> None:
    raw = json.dumps({"model": "task-model", "messages": HELLO, **fields}).encode()
    response = bench.http.post("/v1/chat/completions", content=raw)
    assert response.status_code == 400 and words in bench.sentence(response)
    assert len(bench.session.calls) == 1 and bench.provider.seen == []
    json.dumps(asdict(bench.session.calls[0]), allow_nan=False)


ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**400,
    "",
    [],
    [[]],
    ["x"],
    {},
    {"type": []},
    {"type": {}},
    {"function": {"name": []}},
)
WHOLE_CHAT: dict[str, Any] = {
    "model": "task-model", "stop": ["x"], "metadata": {"item_id": "a"}, "stream_options": {"include_usage": True},
    "response_format": {"type": "text"}, "temperature": 1, "top_k": 1, "seed": 1, "logprobs": True,
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "x"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": 1}}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
}  # fmt: skip
WHOLE_MESSAGE: dict[str, Any] = {
    "model": "task-model", "max_tokens": 5, "system": [{"type": "text", "text": "s"}], "temperature": 1, "top_p": 1,
    "messages": [
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "x"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}}]},
    ],
    "tools": [{"type": "custom", "name": "f", "input_schema": {"a": 1}}],
    "tool_choice": {"type": "tool", "name": "f"}, "stop_sequences": ["x"], "metadata": {"user_id": "u"},
}  # fmt: skip


def variants(value: Any) -> Iterator[Any]:
    """The value with one part of it at a time, at whatever depth, replaced by each of ODD."""
    yield from ODD
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        for other in variants(part):
            changed = value.copy()
            changed[key] = other
            yield changed


@pytest.mark.parametrize(("check", "whole"), [(chat_call, WHOLE_CHAT), (messages_call, WHOLE_MESSAGE)])
def test_whatever_stands_in_the_place_of_a_value_is_taken_or_refused(
    check: Callable[[Any, int], object], whole: dict[str, Any]
) -> None:
    check(whole, 5)
    refused = 0
    for body in variants(whole):
        try:
            check(parse_json(json.dumps(body).encode()), 5)
        except CallRefused:
            refused += 1
    assert refused > 200


@pytest.mark.parametrize("finish", ["content_filter", "length"])
def test_an_answer_without_text_is_one_where_the_model_ended_it(bench: Bench, finish: str) -> None:
    choice = {"message": {"content": None}, "finish_reason": finish}
    bench.provider.plan(Fault(200, raw=json.dumps({"choices": [choice]}).encode()))
    response = bench.chat()
    assert response.status_code == 200 and response.json()["choices"][0]["message"]["content"] == ""
    assert bench.session.calls[0].attempts == 1


def test_a_number_without_an_end_is_refused(bench: Bench) -> None:
    raw = b'{"model": "task-model", "messages": [], "tools": [{"x": 1e999}]}'
    assert "too large" in bench.sentence(bench.http.post("/v1/chat/completions", content=raw))


def test_what_the_model_writes_is_mended_so_that_it_can_be_kept(bench: Bench) -> None:
    reply = {"choices": [{"message": {"content": "a\0b\ud800"}, "finish_reason": "stop", "logprobs": None}]}
    raw = json.dumps(reply).replace("null", "NaN").encode()
    bench.provider.plan(Fault(200, raw=raw))
    assert bench.chat().json()["choices"][0]["message"]["content"] == "a\ufffdb\ufffd"
    json.dumps(bench.session.calls[0].reply, allow_nan=False)


def test_the_key_is_taken_out_of_whatever_the_provider_says(bench: Bench) -> None:
    for status in (400, 404, 422, 500, 401):
        bench.provider.plan(Fault(status, message="bad key Bearer sk-secret-of-ours, sk-secr***urs"))
    bench.provider.plan(
        Say("you are sk-secret-of-ours"), Say("x", tools=(("f", {"k": "sk-secret-of-ours"}),))
    )
    for _ in range(6):
        assert "sk-s" not in bench.chat().text
    kept = json.dumps([asdict(call) for call in bench.session.calls])
    assert "sk-s" not in kept and "[key]" in kept


def test_an_endpoint_that_names_the_length_otherwise_gets_its_own_field(tmp_path: Path) -> None:
    with fake_provider() as provider:
        upstream = Upstream(provider.base_url, "m", max_tokens_field="max_completion_tokens")
        with open_gateway(tmp_path / "s", upstream, GatewayLimits(), 0) as session:
            raw = json.dumps({"model": "task-model", "messages": HELLO, "max_tokens": 3}).encode()
            assert session.handle("openai", raw).status == 200
        sent = provider.seen[0].body
        assert sent["max_completion_tokens"] == 3 and "max_tokens" not in sent
        assert session.calls[0].request["max_tokens"] == 3
