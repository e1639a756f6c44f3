"""The relay in front of the gateway: what its program sees when it opens more connections than there may be."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from loop.bench_gateway import as_text, bench_gateway, relay
from loop.sandbox.relay import CONNECTIONS
from tests.loop.gateway_bench import HELLO, opened

BODY = json.dumps({"model": "task-model", "messages": HELLO}).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(BODY)


def connect(port: int) -> socket.socket:
    """A connection to the relay that has sent the head of a request."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(HEAD)
    return connection


def status(connection: socket.socket) -> bytes:
    """The status line's code, once the body is sent too."""
    connection.sendall(BODY)
    return connection.recv(65536)[9:12]


def test_a_program_with_too_many_connections_is_told_so_through_the_relay(tmp_path: Path) -> None:
    with opened(tmp_path) as bench, relay(bench.path) as port:
        held = [connect(port) for _ in range(64)]
        refused = connect(port)
        assert refused.recv(65536).startswith(b"HTTP/1.1 429")
        assert [status(held[number]) for number in (0, 63)] == [b"200", b"200"]
        for connection in (*held, refused):
            connection.close()


def test_what_the_relay_cannot_take_waits_until_another_connection_ends(tmp_path: Path) -> None:
    with opened(tmp_path, max_connections=200) as bench, relay(bench.path) as port:
        held = [connect(port) for _ in range(CONNECTIONS)]
        waiting = connect(port)
        assert [status(each) for each in held] == [b"200"] * CONNECTIONS
        assert len(bench.provider.seen) == CONNECTIONS
        held[0].close()
        assert status(waiting) == b"200"
        for connection in (*held, waiting):
            connection.close()


def test_the_bench_times_calls_both_ways(tmp_path: Path) -> None:
    found = bench_gateway(3)
    assert 0 < found["direct_min_ms"] <= found["direct_median_ms"]
    assert 0 < found["gateway_min_ms"] <= found["gateway_median_ms"]
    assert found["added_min_ms"] == found["gateway_min_ms"] - found["direct_min_ms"]
    assert "bound    3 ms" in as_text(found)
