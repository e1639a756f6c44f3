"""A gateway between real clients and the local provider, for the gateway's tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2
import openai

from loop.gateway import GatewayLimits, GatewaySession, Memory, Upstream, open_gateway
from loop.prices import Prices
from tests.loop.fake_providers import FakeProvider, fake_provider

HELLO = [{"role": "user", "content": "hello"}]


class Bench:
    """A gateway, its provider and clients for it."""

    def __init__(self, session: GatewaySession, provider: FakeProvider, path: Path) -> None:
        import anthropic  # seconds, which every process that collects the tests would pay

        self.session = session
        self.provider = provider
        self.path = path
        self.http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(path)), base_url="http://gw", timeout=20
        )
        self.openai = openai.OpenAI(
            base_url="http://gw/v1",
            api_key="none",
            max_retries=0,
            http_client=httpx2.Client(transport=httpx2.HTTPTransport(uds=str(path)), timeout=20),
        )
        self.anthropic = anthropic.Anthropic(
            base_url="http://gw",
            api_key="none",
            max_retries=0,
            http_client=httpx2.Client(transport=httpx2.HTTPTransport(uds=str(path)), timeout=20),
        )

    def chat(self, **fields: Any) -> httpx.Response:
        return self.http.post(
            "/v1/chat/completions", json={"model": "task-model", "messages": HELLO, **fields}
        )

    def message(self, **fields: Any) -> httpx.Response:
        body = {"model": "task-model", "messages": HELLO, "max_tokens": 20, **fields}
        return self.http.post("/v1/messages", json=body)

    def sentence(self, response: httpx.Response) -> str:
        return str(response.json()["error"]["message"])


@contextmanager
def opened(
    tmp_path: Path,
    *,
    seed: int = 7,
    prices: Prices | None = None,
    memory: Memory | None = None,
    **limits: Any,
) -> Iterator[Bench]:
    with ExitStack() as stack:
        provider = stack.enter_context(fake_provider())
        upstream = Upstream(
            base_url=provider.base_url,
            served_model="base",
            api_key="sk-secret-of-ours",
            prices=prices or Prices(),
            base_model="b1",
            adapter_digest="d1",
        )
        path = tmp_path / "llm.sock"
        session = stack.enter_context(open_gateway(path, upstream, GatewayLimits(**limits), seed, memory))
        bench = Bench(session, provider, path)
        stack.callback(bench.http.close)
        stack.callback(bench.openai.close)
        stack.callback(bench.anthropic.close)
        yield bench
