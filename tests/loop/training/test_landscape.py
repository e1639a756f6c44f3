"""The landscape: pure aggregation, the choice of prompts, and sampling over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from loop.errors import ProviderError, TrainingError
from loop.training.landscape import Sampling, aggregate, choose, measure
from tests.loop.training.parts import prompt_rows


class Sampler(BaseHTTPRequestHandler):
    """Answers `n` choices: the letters a, b, c in turn; or what the test put into `broken`."""

    seen: list[dict[str, Any]]
    broken: bytes | None

    def do_POST(self) -> None:
        """One chat completion."""
        server: Any = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.seen.append(body)
        choices = [{"message": {"role": "assistant", "content": "abc"[k % 3]}} for k in range(body["n"])]
        data = server.broken or json.dumps({"choices": choices}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def sampler() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Sampler)
    server.seen, server.broken = [], None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def url(server: Any) -> str:
    return f"http://127.0.0.1:{server.server_port}/v1"


def test_success_and_flat_groups_are_averaged_over_prompts() -> None:
    seen = aggregate([[1.0, 0.0, 1.0, 0.0], [0.0] * 4, [1.0] * 4, [1.0, 0.0, 0.0, 0.0]])
    assert seen.p == pytest.approx((0.5 + 0 + 1 + 0.25) / 4)
    assert (seen.z, seen.prompts, seen.samples_per_prompt, seen.binary) == (0.5, 4, 4, True)


def test_unknown_rewards_are_excluded_and_never_zero() -> None:
    seen = aggregate([[1.0, None, 1.0, None], [None, None, None, 1.0], [None] * 4])
    assert (seen.p, seen.z, seen.prompts) == (1.0, 1.0, 1)


def test_rewards_between_zero_and_one_are_continuous() -> None:
    assert aggregate([[0.0, 0.5]]).binary is False


def test_nothing_known_is_an_error_and_no_landscape() -> None:
    with pytest.raises(TrainingError, match="landscape is unknown"):
        aggregate([[None, None], [1.0, None]])


def test_the_choice_of_prompts_depends_on_the_seed_and_not_on_the_order() -> None:
    rows = prompt_rows(40)
    some = choose(rows, Sampling(limit=8, seed=1))
    assert len(some) == 8 and some == choose(rows[::-1], Sampling(limit=8, seed=1))
    assert some != choose(rows, Sampling(limit=8, seed=2))


def test_every_prompt_is_sampled_with_a_seed_and_rewarded(sampler: Any) -> None:
    def letters(rows: Any) -> list[float | None]:
        return [float(text == "abc"[int(item[1:]) % 3]) for item, text in rows]

    seen = measure(url(sampler), "m", prompt_rows(10), letters, Sampling(samples=9, limit=6))
    assert (seen.prompts, seen.samples_per_prompt, seen.z) == (6, 9, 0.0)
    assert seen.p == pytest.approx(1 / 3)
    assert len(sampler.seen) == 6 and len({body["seed"] for body in sampler.seen}) == 6
    assert {(body["n"], body["model"], body["temperature"]) for body in sampler.seen} == {(9, "m", 1.0)}


@pytest.mark.parametrize("reply", [b"{}", b"nonsense", b'{"choices": []}', b'{"choices": [{"message": {}}]}'])
def test_a_model_that_cannot_be_sampled_is_a_provider_error(sampler: Any, reply: bytes) -> None:
    sampler.broken = reply
    with pytest.raises(ProviderError, match="The model m"):
        measure(url(sampler), "m", prompt_rows(1), lambda rows: [1.0 for _ in rows], Sampling())


def test_a_server_that_is_not_there_is_a_provider_error() -> None:
    with pytest.raises(ProviderError, match="could not be sampled"):
        measure("http://127.0.0.1:1/v1", "m", prompt_rows(1), lambda rows: [1.0 for _ in rows], Sampling())
