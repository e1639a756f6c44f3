"""The gateway's limits, budget, retries and life cycle, against a real local provider."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from loop.errors import ProviderError, SandboxError
from loop.gateway import GatewayLimits, Upstream, open_gateway
from loop.gateway.meter import Meter
from loop.gateway.types import CallRefused
from loop.prices import Prices
from tests.loop.fake_providers import Drop, Fault, Say
from tests.loop.gateway_bench import HELLO, Bench, opened


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with opened(tmp_path) as made:
        yield made


def test_the_completion_length_is_capped_and_has_a_default(tmp_path: Path) -> None:
    with opened(tmp_path, max_completion_tokens=30) as bench:
        for fields in ({"max_tokens": 999}, {"max_completion_tokens": 999}, {}, {"max_tokens": 4}):
            assert bench.chat(**fields).status_code == 200
        assert [seen.body["max_tokens"] for seen in bench.provider.seen] == [30, 30, 30, 4]


def test_unknown_paths_and_chunked_bodies_are_refused(bench: Bench) -> None:
    assert bench.http.get("/v1/files").status_code == 404
    assert bench.http.post("/v1/embeddings", json={}).status_code == 404
    assert bench.http.post("/v1/chat/completions", content=iter([b"{}"])).status_code == 411


def test_a_body_over_the_limit_is_refused_without_reading_it(tmp_path: Path) -> None:
    with opened(tmp_path, max_body_bytes=1000) as bench:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(bench.path))
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 1001\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 413")
        assert bench.chat().status_code == 200


def test_the_call_cap_answers_429_and_is_not_retried(tmp_path: Path) -> None:
    with opened(tmp_path, max_calls=2) as bench:
        client = bench.openai.with_options(max_retries=5)
        for _ in range(2):
            client.chat.completions.create(model="task-model", messages=HELLO)  # type: ignore[arg-type]
        with pytest.raises(openai.RateLimitError, match="2 model calls are used up") as refused:
            client.chat.completions.create(model="task-model", messages=HELLO)  # type: ignore[arg-type]
        assert refused.value.request.headers["x-stainless-retry-count"] == "0"
        assert "used up" in bench.session.limit_hit
        assert len(bench.session.calls) == 2 and bench.session.usage()[0] == 2


def test_the_money_budget_reserves_the_worst_case_and_answers_402_when_spent(tmp_path: Path) -> None:
    with opened(tmp_path, prices=Prices(input=10.0, output=1000.0), max_cost_usd=0.05) as bench:
        bench.provider.default = Say("x", tokens=(100, 20))
        statuses = [bench.chat(max_tokens=20).status_code for _ in range(4)]
        assert statuses == [200, 200, 402, 402]
        calls, tokens, cost = bench.session.usage()
        assert (calls, tokens) == (4, 240) and cost == pytest.approx(2 * (100 * 10 + 20 * 1000) / 1e6)
        assert cost <= 0.05 and "money budget is spent" in bench.session.limit_hit


def test_many_calls_at_once_never_overspend_the_money_budget(tmp_path: Path) -> None:
    with opened(tmp_path, prices=Prices(output=1000.0), max_cost_usd=0.1) as bench:
        bench.provider.default = Say("x", tokens=(1, 10), delay_s=0.02)
        statuses: list[int] = []

        def ask() -> None:
            statuses.append(bench.chat(max_tokens=10).status_code)

        threads = [threading.Thread(target=ask) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses.count(200) == 10 and statuses.count(402) == 14
        assert bench.session.usage()[2] == pytest.approx(0.1)


def test_many_calls_at_once_never_pass_the_call_cap_or_the_token_budget(tmp_path: Path) -> None:
    with opened(tmp_path, max_calls=9, max_tokens=1500) as bench:
        bench.provider.default = Say("x", tokens=(300, 10), delay_s=0.01)
        statuses = together(20, lambda: bench.chat(max_tokens=10).status_code)
        calls, tokens, _ = bench.session.usage()
        assert statuses.count(200) == len(bench.provider.seen) == 4 and statuses.count(429) == 16
        assert (calls, tokens) == (9, 4 * 310)


def test_more_calls_at_once_than_the_cap_are_told_to_wait(tmp_path: Path) -> None:
    with opened(tmp_path, max_in_flight=2) as bench:
        gate = threading.Event()
        bench.provider.default = lambda body: Say("x") if gate.wait(10) else Fault(500)
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda: statuses.append(bench.chat().status_code)) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        while len(bench.provider.seen) < 2:
            time.sleep(0.005)
        refused = bench.chat()
        assert refused.status_code == 429 and "2 model calls at once" in bench.sentence(refused)
        assert refused.headers["x-should-retry"] == "true"
        gate.set()
        for thread in threads:
            thread.join()
        assert statuses == [200, 200] and bench.chat().status_code == 200
        assert bench.session.usage()[0] == 3 and bench.session.limit_hit == ""


def test_a_call_that_others_keep_from_the_budget_is_refused_and_is_no_outage() -> None:
    meter = Meter(GatewayLimits(max_cost_usd=0.01), Prices(output=1000.0))
    held = meter.reserve(100, 10, time.monotonic() + 9)
    with pytest.raises(CallRefused, match="held by other calls") as refused:
        meter.reserve(100, 10, time.monotonic() + 0.05)
    assert (refused.value.status, refused.value.final, meter.limit_hit) == (429, False, "")
    meter.settle(held, 5, 0.0)
    meter.reserve(100, 10, time.monotonic() + 9)
    meter.close()
    with pytest.raises(CallRefused) as refused:
        meter.reserve(100, 10, time.monotonic() + 9)
    assert refused.value.status == 499


def together(count: int, act: Callable[[], int]) -> list[int]:
    """The results of `count` calls made at the same time."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: act(), range(count)))


def test_the_token_budget_answers_429_when_spent(tmp_path: Path) -> None:
    with opened(tmp_path, max_tokens=1000) as bench:
        bench.provider.default = Say("x", tokens=(700, 10))
        assert [bench.chat(max_tokens=10).status_code for _ in range(2)] == [200, 429]
        assert "token budget is spent" in bench.session.limit_hit


def test_a_trajectory_cannot_fill_the_memory(tmp_path: Path) -> None:
    with opened(tmp_path, max_recorded_bytes=3000) as bench:
        big = [{"role": "user", "content": "x" * 1000}]
        statuses = [bench.chat(messages=big).status_code for _ in range(3)]
        assert statuses == [200, 200, 413] and "trajectory is full" in bench.session.limit_hit


def test_too_many_connections_answer_429_and_old_ones_go_on(tmp_path: Path) -> None:
    with opened(tmp_path, max_connections=2) as bench:
        assert bench.chat().status_code == 200
        with socket.socket(socket.AF_UNIX) as second, socket.socket(socket.AF_UNIX) as third:
            for client in (second, third):
                client.settimeout(10)
                client.connect(str(bench.path))
            assert third.recv(4096).startswith(b"HTTP/1.1 429") and third.recv(1) == b""
            third.sendall(b"what it was still sending does not break its pipe")
            assert bench.chat().status_code == 200


def test_provider_faults_are_retried_within_the_deadline(bench: Bench) -> None:
    faults = (Fault(503), Fault(429, headers={"retry-after": "0.05"}), Drop(), Drop(mid_body=True))
    bench.provider.plan(*faults, Fault(200, raw=b"<html>"), Say("at last"))
    assert bench.chat().json()["choices"][0]["message"]["content"] == "at last"
    assert len(bench.provider.seen) == 6
    assert len({seen.body["seed"] for seen in bench.provider.seen}) == 1
    assert len(bench.session.calls) == 1


def test_a_provider_that_stays_down_is_a_502_after_the_deadline(tmp_path: Path) -> None:
    with opened(tmp_path, deadline_s=0.5) as bench:
        bench.provider.default = Fault(529)
        response = bench.chat()
        assert response.status_code == 502 and "529" in bench.sentence(response)
        call = bench.session.calls[0]
        assert (call.status, call.reply) == (502, None) and "attempts" in call.error
        assert bench.session.usage() == (1, 0, 0.0)


def test_a_broken_answer_is_charged_at_the_reserve(tmp_path: Path) -> None:
    with opened(tmp_path, deadline_s=0.3, prices=Prices(output=100.0), max_cost_usd=1.0) as bench:
        bench.provider.plan(Drop(mid_body=True))
        bench.provider.default = Fault(500)
        assert bench.chat(max_tokens=100).status_code == 502
        _, tokens, cost = bench.session.usage()
        assert cost == pytest.approx(0.01) and tokens > 256 + 100
        call = bench.session.calls[0]
        assert (call.reply, call.cost_usd, call.reserved_tokens) == (None, cost, tokens) and call.attempts > 1


def test_the_steps_of_a_run_add_up_to_what_it_was_charged(tmp_path: Path) -> None:
    prices = Prices(input=2.0, output=10.0, cache_read=0.2, cache_write=2.5)
    with opened(tmp_path, prices=prices) as bench:
        bench.provider.plan(Drop(), Say("a", tokens=(100, 7), cached=(60, 0)), Drop(mid_body=True), Say("b"))
        assert [bench.chat(max_tokens=9).status_code for _ in range(2)] == [200, 200]
        calls, tokens, cost = bench.session.usage()
        steps = bench.session.calls
        assert (calls, [step.attempts for step in steps]) == (2, [2, 2])
        assert tokens == sum(
            step.prompt_tokens + step.completion_tokens + step.reserved_tokens for step in steps
        )
        assert cost == pytest.approx(sum(step.cost_usd for step in steps))
        dropped = prices.worst(steps[0].reserved_tokens - 9, 9)
        assert steps[0].cost_usd == pytest.approx(dropped + (40 * 2.0 + 60 * 0.2 + 7 * 10.0) / 1e6)


def test_a_reply_that_drips_is_cut_at_the_deadline(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            client, _ = server.accept()
            with client, contextlib.suppress(OSError):
                client.recv(65536)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n")
                while True:
                    client.sendall(b" ")

        threading.Thread(target=drip, daemon=True).start()
        upstream = Upstream(f"http://127.0.0.1:{server.getsockname()[1]}", "m")
        with open_gateway(tmp_path / "s", upstream, GatewayLimits(deadline_s=0.3), 0) as session:
            answer = session.handle("openai", json.dumps({"model": "task-model", "messages": HELLO}).encode())
        assert answer.status == 502 and b"took too long" in answer.body


def test_an_answer_without_counts_is_charged_at_the_reserve(bench: Bench) -> None:
    reply = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}
    bench.provider.plan(Fault(200, raw=json.dumps(reply).encode()))
    assert bench.chat(max_tokens=8).status_code == 200
    assert bench.session.calls[0].completion_tokens == 8 and bench.session.calls[0].prompt_tokens > 256


def test_a_slow_provider_is_cut_at_the_deadline(tmp_path: Path) -> None:
    with opened(tmp_path, deadline_s=0.3) as bench:
        bench.provider.default = Say("late", delay_s=2)
        started = time.monotonic()
        assert bench.chat().status_code == 502
        assert time.monotonic() - started < 1.5


def test_what_the_model_server_refuses_is_a_400_and_not_retried(bench: Bench) -> None:
    bench.provider.plan(Fault(400, message="prompt too long; key sk-secret"))
    response = bench.chat()
    assert response.status_code == 400 and "prompt too long; key [key]" in bench.sentence(response)
    bench.provider.plan(Fault(401, message="Incorrect key sk-secret"))
    response = bench.chat()
    assert response.status_code == 502 and "sk-secret" not in response.text
    assert len(bench.provider.seen) == 2


def test_sampling_seeds_depend_on_content_and_repetition_only(tmp_path: Path) -> None:
    def seeds(order: list[str], seed: int) -> dict[str, list[int]]:
        with opened(tmp_path, seed=seed) as bench:
            for text in order:
                bench.chat(messages=[{"role": "user", "content": text}])
            out: dict[str, list[int]] = {}
            for seen in bench.provider.seen:
                out.setdefault(seen.body["messages"][0]["content"], []).append(seen.body["seed"])
            return out

    first = seeds(["a", "b", "a"], 1)
    assert first == seeds(["b", "a", "a"], 1)
    assert first["a"][0] != first["a"][1] and first["a"][0] != first["b"][0]
    assert first != seeds(["a", "b", "a"], 2)


def test_a_seed_from_the_harness_is_kept(bench: Bench) -> None:
    bench.chat(seed=5)
    assert bench.provider.seen[0].body["seed"] == 5


def test_the_same_text_for_two_items_is_seeded_by_item_and_not_by_order(tmp_path: Path) -> None:
    def seeds(items: list[str]) -> dict[str, int]:
        with opened(tmp_path) as bench:
            for item in items:
                bench.chat(metadata={"item_id": item})
            return dict(zip(items, (seen.body["seed"] for seen in bench.provider.seen), strict=True))

    assert seeds(["a", "b"]) == seeds(["b", "a"])


def test_connections_are_kept_alive_on_both_sides(bench: Bench) -> None:
    for _ in range(10):
        assert bench.chat().status_code == 200
    assert bench.provider.connections == 1


def test_a_connection_that_the_provider_closed_while_idle_is_replaced_without_a_charge(bench: Bench) -> None:
    bench.provider.plan(Fault(400, headers={"Connection": "keep-alive"}, hangs_up=True))
    assert bench.chat().status_code == 400 and bench.provider.hung_up.wait(10)
    assert bench.chat().status_code == 200
    assert [call.attempts for call in bench.session.calls] == [1, 1]
    assert bench.session.usage()[1] == 15 and bench.provider.connections == 2


def test_a_kept_connection_that_drops_after_the_request_is_charged(bench: Bench) -> None:
    bench.provider.plan(Say("a"), Drop(), Say("b"))
    assert [bench.chat().status_code for _ in range(2)] == [200, 200]
    assert [call.attempts for call in bench.session.calls] == [1, 2]
    assert bench.session.calls[1].reserved_tokens > 256


def test_any_uid_may_connect_and_the_socket_is_gone_afterwards(tmp_path: Path) -> None:
    with opened(tmp_path) as bench:
        assert stat.S_IMODE(os.stat(bench.path).st_mode) == 0o666
        names = {thread.name for thread in threading.enumerate()}
        assert "gateway-accept" in names
    assert not bench.path.exists()
    assert not {thread.name for thread in threading.enumerate()} & {"gateway-accept", "gateway"}


def test_closing_cuts_a_call_in_flight_and_records_it(tmp_path: Path) -> None:
    with opened(tmp_path, deadline_s=30) as bench:
        bench.provider.default = Say("late", delay_s=1)

        def ask() -> None:
            with contextlib.suppress(httpx.HTTPError):
                bench.chat()

        thread = threading.Thread(target=ask)
        thread.start()
        while not bench.provider.seen:
            time.sleep(0.005)
        started = time.monotonic()
    thread.join()
    assert time.monotonic() - started < 5
    assert [call.status for call in bench.session.calls] == [499]


def test_closing_cuts_idle_connections_at_once(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as idle:
        idle.settimeout(10)
        with opened(tmp_path) as bench:
            idle.connect(str(bench.path))
            idle.sendall(b"GET /v1/models HTTP/1.1\r\n\r\n")
            assert idle.recv(65536).startswith(b"HTTP/1.1 200")
            started = time.monotonic()
        assert time.monotonic() - started < 3
        assert idle.recv(1) == b""


def test_a_socket_path_longer_than_an_address_still_works(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    upstream = Upstream(base_url="http://127.0.0.1:9", served_model="m")
    with open_gateway(deep / "llm.sock", upstream, GatewayLimits(), 0):
        assert (deep / "llm.sock").is_socket()
    with (
        pytest.raises(SandboxError, match="could not be made"),
        open_gateway(tmp_path / "absent" / "llm.sock", upstream, GatewayLimits(), 0),
    ):
        pass


def test_an_upstream_can_be_a_unix_socket(tmp_path: Path) -> None:
    with opened(tmp_path) as inner:
        outer_upstream = Upstream(base_url="http://inner", served_model="task-model", uds=str(inner.path))
        path = tmp_path / "outer.sock"
        with open_gateway(path, outer_upstream, GatewayLimits(), 1):
            client = httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://gw")
            body = {"model": "task-model", "messages": HELLO, "seed": 1}
            assert client.post("/v1/chat/completions", json=body).status_code == 200
            client.close()
        assert len(inner.session.calls) == 1


@pytest.mark.parametrize("fields", [{"api": "anthropic"}, {"base_url": "ftp://x"}])
def test_an_impossible_upstream_is_refused_with_a_sentence(fields: dict[str, Any]) -> None:
    with pytest.raises(ProviderError, match=r"\.$"):
        Upstream(**{"base_url": "http://x", "served_model": "m", **fields})


@pytest.mark.parametrize("price", [float("nan"), float("inf"), -1.0])
def test_an_impossible_price_is_refused_with_a_sentence(price: float) -> None:
    for name in ("input", "output", "cache_read", "cache_write"):
        with pytest.raises(ProviderError, match=r"impossible; correct it\.$"):
            Prices(**{name: price})
