"""The model server over HTTP: OpenAI's and vLLM's routes, repeatable sampling, refusals in JSON."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from loop.serving.server import MAX_BODY_BYTES, ModelServer, make_engine
from tests.loop.tiny_models import PROMPT, write_adapter, write_model


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    folder = write_model(tmp_path_factory.mktemp("server") / "tiny")
    running = ModelServer(make_engine("auto", folder), "tiny")
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def client(server: ModelServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.url, api_key="none", max_retries=0) as opened:
        yield opened


def raw(server: ModelServer, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.request(method, path, body, {"Content-Type": "application/json"})
    reply = connection.getresponse()
    status, value = reply.status, json.loads(reply.read())
    connection.close()
    return status, value


def post(server: ModelServer, path: str, **body: object) -> tuple[int, Any]:
    return raw(server, "POST", path, json.dumps(body).encode())


def chat(client: OpenAI, model: str = "tiny", **options: Any) -> Any:
    messages: Any = [{"role": "user", "content": PROMPT}]
    return client.chat.completions.create(model=model, messages=messages, **options)


def test_the_openai_client_gets_chat_completions(client: OpenAI) -> None:
    reply = chat(client, max_tokens=6, seed=4, n=2, logprobs=True, metadata={"item_id": "a"})
    assert [choice.index for choice in reply.choices] == [0, 1]
    assert reply.choices[0].message.role == "assistant"
    assert reply.usage.prompt_tokens == len(PROMPT)
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    tokens = reply.choices[0].logprobs.content
    assert "".join(token.token for token in tokens) == reply.choices[0].message.content
    assert all(token.logprob <= 0 for token in tokens)
    assert chat(client, max_completion_tokens=2, temperature=0).choices[0].finish_reason == "length"


def test_contents_may_be_text_parts_and_several_messages(client: OpenAI) -> None:
    parts: Any = [
        {"role": "system", "content": PROMPT[:4]},
        {
            "role": "user",
            "content": [{"type": "text", "text": PROMPT[4:9]}, {"type": "text", "text": PROMPT[9:]}],
        },
    ]
    split = client.chat.completions.create(model="tiny", messages=parts, temperature=0, max_tokens=6)
    whole = chat(client, temperature=0, max_tokens=6)
    assert split.choices[0].message.content == whole.choices[0].message.content


def test_a_batch_of_prompts_gives_what_single_requests_give(client: OpenAI) -> None:
    prompts = [PROMPT, PROMPT[2:], PROMPT[4:]]
    batch = client.completions.create(model="tiny", prompt=prompts, n=3, seed=9, max_tokens=6, logprobs=0)
    single = [
        choice.text
        for prompt in prompts
        for choice in client.completions.create(
            model="tiny", prompt=prompt, n=3, seed=9, max_tokens=6
        ).choices
    ]
    assert [choice.text for choice in batch.choices] == single
    assert [choice.index for choice in batch.choices] == list(range(9))
    assert batch.choices[0].logprobs is not None


def test_many_clients_at_once_get_the_answers_of_one(client: OpenAI) -> None:
    def sample(seed: int) -> str:
        return str(chat(client, seed=seed, max_tokens=6).choices[0].message.content)

    alone = [sample(seed) for seed in range(30)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(sample, range(30))) == alone


def test_an_adapter_is_loaded_listed_used_and_unloaded_by_name(
    server: ModelServer, client: OpenAI, tmp_path: Path
) -> None:
    path = str(write_adapter(tmp_path / "adapter", scale=2.0))
    before = chat(client, temperature=0, max_tokens=6).choices[0].message.content
    assert post(server, "/v1/load_lora_adapter", lora_name="d1", lora_path=path)[0] == 200
    assert post(server, "/v1/load_lora_adapter", lora_name="d1", lora_path=path)[0] == 200
    assert [model.id for model in client.models.list()] == ["tiny", "d1"]
    assert chat(client, "d1", temperature=0, max_tokens=6).choices[0].message.content != before
    assert chat(client, temperature=0, max_tokens=6).choices[0].message.content == before
    for name, other in (("d1", str(tmp_path)), ("tiny", path)):
        status, value = post(server, "/v1/load_lora_adapter", lora_name=name, lora_path=other)
        assert status == 400 and "taken" in value["error"]["message"]
    assert post(server, "/v1/unload_lora_adapter", lora_name="d1")[0] == 200
    assert post(server, "/v1/unload_lora_adapter", lora_name="d1")[0] == 404
    with pytest.raises(NotFoundError, match="does not exist"):
        chat(client, "d1")


def test_a_folder_that_is_no_adapter_is_refused_with_its_name(server: ModelServer, tmp_path: Path) -> None:
    status, value = post(server, "/v1/load_lora_adapter", lora_name="no", lora_path=str(tmp_path))
    assert status == 400 and str(tmp_path) in value["error"]["message"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "user", "content": None}]}, "content"),
        ({"messages": [{"role": "user", "content": ""}]}, "empty"),
        ({"messages": [{"role": "user", "content": "a" * 200}]}, "context"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 10**9}, "max_tokens"),
        ({"n": 100000}, "n must"),
        ({"seed": "x"}, "seed"),
        ({"seed": 2**70}, "seed"),
        ({"stop": [""]}, "stop"),
        ({"stream": True}, "stream"),
        ({"model": 7}, "model"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    client: OpenAI, change: dict[str, Any], word: str
) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 4}
    with pytest.raises(BadRequestError, match=word):
        client.post("/chat/completions", body=body | change, cast_to=object)


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000, b'{"messages": NaN}'])
def test_a_body_that_is_no_object_is_refused_in_json(server: ModelServer, body: bytes) -> None:
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/load_lora_adapter"):
        status, value = raw(server, "POST", path, body)
        assert status == 400 and "Traceback" not in json.dumps(value)


def test_unknown_routes_and_bodies_that_are_too_large_are_refused(server: ModelServer) -> None:
    assert raw(server, "GET", "/v1/secrets")[0] == 404
    assert raw(server, "POST", "/health")[0] == 404
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.putrequest("POST", "/v1/completions")
    connection.putheader("Content-Length", str(MAX_BODY_BYTES + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_a_negative_seed_is_as_good_as_any(client: OpenAI) -> None:
    first, second = (chat(client, seed=-3, max_tokens=6).choices[0].message.content for _ in range(2))
    assert first == second
