"""What the relay and the gateway add to one model call, beside the same call made directly, in one run."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from loop.errors import ProviderError
from loop.gateway import GatewayLimits, Upstream, open_gateway

HERE = Path(__file__).parent
PLAIN = [sys.executable, "-I", "-S"]
BOUND_MS = 3.0
WARM_UP = 20
CALL = {
    "model": "task-model",
    "messages": [{"role": "user", "content": "Is 7 a prime number? Answer yes or no."}],
    "max_tokens": 5,
    "metadata": {"item_id": "item-1"},
}


def bench_gateway(calls: int) -> dict[str, float]:
    """Milliseconds of a call over a kept-alive connection: direct, and through relay and gateway; and what is added.

    The calls are interleaved, so that both see the same load. `added_min_ms` compares the fastest of each, which is
    nearest to an idle machine. Raises ProviderError when a call is not answered.
    """
    body = json.dumps(CALL).encode()
    times: dict[str, list[float]] = {"direct": [], "gateway": []}
    with TemporaryDirectory(prefix="pawl-b-") as folder, _provider() as direct:
        socket_path = Path(folder) / "llm.sock"
        upstream = Upstream(f"http://127.0.0.1:{direct}", "instant")
        with open_gateway(socket_path, upstream, GatewayLimits(), 0), relay(socket_path) as relayed:
            ways = {"direct": _connection(direct), "gateway": _connection(relayed)}
            for number in range(calls + WARM_UP):
                for name, connection in ways.items():
                    taken = _milliseconds(connection, body)
                    if number >= WARM_UP:
                        times[name].append(taken)
            for connection in ways.values():
                connection.close()
    found: dict[str, float] = {}
    for name, values in times.items():
        found |= {f"{name}_median_ms": statistics.median(values), f"{name}_min_ms": min(values)}
    for figure in ("median_ms", "min_ms"):
        found[f"added_{figure}"] = found[f"gateway_{figure}"] - found[f"direct_{figure}"]
    return {**found, "bound_ms": BOUND_MS, "load": os.getloadavg()[0]}


def as_text(found: dict[str, float]) -> str:
    """The figures as two lines."""
    rows = [
        f"{name:<8} median {found[f'{name}_median_ms']:6.2f} ms, min {found[f'{name}_min_ms']:6.2f} ms"
        for name in ("direct", "gateway", "added")
    ]
    return "\n".join([*rows, f"bound    {BOUND_MS:.0f} ms at the minimum; load average {found['load']:.1f}"])


@contextmanager
def _provider() -> Iterator[int]:
    """The port of a provider that answers at once, in a process of its own."""
    command = [*PLAIN, str(HERE / "bench_provider.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def relay(socket_path: Path) -> Iterator[int]:
    """The port of the sandbox's own relay to a model socket, here outside of any sandbox."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [*PLAIN, str(HERE / "sandbox" / "relay.py"), str(socket_path), str(port)]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            if process.wait() != 0:
                raise ProviderError(
                    "The relay did not start; another program may have taken its port: try again."
                )
            yield port
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # the relay itself is a child that has detached


def _connection(port: int) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _milliseconds(connection: http.client.HTTPConnection, body: bytes) -> float:
    started = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    reply = connection.getresponse()
    text = reply.read()
    taken = (time.perf_counter() - started) * 1000
    if reply.status != 200:
        raise ProviderError(f"A call was answered {reply.status}: {text.decode(errors='replace')[:200]}")
    return taken
