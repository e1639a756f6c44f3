"""A local HTTP server that speaks two providers' protocols, with scripted faults.

It is a stand-in for a model, not for our code: real sockets, real bytes, both `POST /v1/messages`
(Anthropic) and `POST /v1/chat/completions` (OpenAI). A test scripts the replies in order; when the script is
empty the model says "ok".
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FIN_WAIT1 = 4  # tcp_states.h: our end is sent and not yet acknowledged


@dataclass(frozen=True)
class Say:
    """An ordinary answer: text and tool calls as (name, arguments); `stop` overrides the stop reason."""

    text: str = ""
    tools: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    stop: str = ""
    tokens: tuple[int, int] = (10, 5)
    cached: tuple[int, int] = (0, 0)
    delay_s: float = 0.0


@dataclass(frozen=True)
class Fault:
    """An answer with an error status, or a raw body with any status.

    With `hangs_up` the provider closes the connection after the answer without saying so in it; it sets
    `FakeProvider.hung_up` once the client's side knows.
    """

    status: int
    message: str = "scripted fault"
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    hangs_up: bool = False


@dataclass(frozen=True)
class Drop:
    """The connection ends: before any byte of the answer, or in the middle of its body."""

    mid_body: bool = False


Step = Say | Fault | Drop


@dataclass
class Seen:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class FakeProvider:
    """The server's script and memory."""

    def __init__(self) -> None:
        self.script: deque[Step | Callable[[dict[str, Any]], Step]] = deque()
        self.default: Step | Callable[[dict[str, Any]], Step] = Say("ok")
        self.seen: list[Seen] = []
        self.connections = 0
        self.hung_up = threading.Event()
        self.base_url = ""
        self._lock = threading.Lock()

    def plan(self, *steps: Step | Callable[[dict[str, Any]], Step]) -> None:
        """Add replies to the script."""
        self.script.extend(steps)

    def next(self, seen: Seen) -> Step:
        """The reply to one request."""
        with self._lock:
            self.seen.append(seen)
            step = self.script.popleft() if self.script else self.default
        return step if isinstance(step, Say | Fault | Drop) else step(seen.body)


def chat_reply(say: Say, number: int, model: str) -> dict[str, Any]:
    """OpenAI's shape."""
    message: dict[str, Any] = {"role": "assistant", "content": say.text or None}
    calls = [
        {
            "id": f"call_{number}_{index}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(args)},
        }
        for index, (name, args) in enumerate(say.tools)
    ]
    if calls:
        message["tool_calls"] = calls
    if say.stop == "refusal":
        message = {"role": "assistant", "content": None, "refusal": say.text or "I cannot help with that."}
    finish = "tool_calls" if calls else "stop"
    prompt, completion = say.tokens
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [
            {"index": 0, "message": message, "finish_reason": say.stop.replace("refusal", "") or finish}
        ],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": say.cached[0]},
        },
    }


def message_reply(say: Say, number: int, model: str) -> dict[str, Any]:
    """Anthropic's shape."""
    content: list[dict[str, Any]] = [{"type": "text", "text": say.text}] if say.text else []
    for index, (name, args) in enumerate(say.tools):
        content.append({"type": "tool_use", "id": f"toolu_{number}_{index}", "name": name, "input": args})
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": say.stop or ("tool_use" if say.tools else "end_turn"),
        "stop_sequence": None,
        "usage": {
            "input_tokens": say.tokens[0],
            "output_tokens": say.tokens[1],
            "cache_read_input_tokens": say.cached[0],
            "cache_creation_input_tokens": say.cached[1],
        },
    }


class Handler(BaseHTTPRequestHandler):
    """Answers by the script."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    provider: FakeProvider

    def setup(self) -> None:
        """Count connections, so that keep-alive can be seen."""
        super().setup()
        self.provider.connections += 1

    def do_POST(self) -> None:
        """One scripted step."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        seen = Seen(self.path, {key.lower(): value for key, value in self.headers.items()}, body)
        step = self.provider.next(seen)
        if isinstance(step, Drop) and not step.mid_body:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if isinstance(step, Fault):
            error = {"type": "error", "error": {"type": "scripted", "message": step.message}}
            raw = step.raw if step.raw is not None else json.dumps(error).encode()
            self.send(step.status, raw, step.headers)
            if step.hangs_up:
                self.hang_up()
            return
        say = Say("half an answer") if isinstance(step, Drop) else step
        if say.delay_s:
            time.sleep(say.delay_s)
        shape = message_reply if self.path.endswith("/messages") else chat_reply
        raw = json.dumps(shape(say, len(self.provider.seen), body.get("model", ""))).encode()
        if isinstance(step, Drop):
            self.send(200, raw, {}, cut_at=len(raw) // 2)
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send(200, raw, {})

    def do_GET(self) -> None:
        """Its health, as a model server of ours tells it. Nothing else is here; it is remembered that someone asked."""
        if self.path == "/health":
            self.send(200, json.dumps({"pid": os.getpid()}).encode(), {})
            return
        self.provider.next(Seen(self.path, {key.lower(): value for key, value in self.headers.items()}, {}))
        self.send(404, b"{}", {})

    def send(self, status: int, raw: bytes, headers: Mapping[str, str], cut_at: int | None = None) -> None:
        """A whole response, or one that promises more than it sends."""
        lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {len(raw)}"]
        lines += [f"{key}: {value}" for key, value in headers.items()]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode() + raw[:cut_at])

    def hang_up(self) -> None:
        """Close the connection, and wait until the other side's kernel has acknowledged the end."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_WR)
        while self.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == FIN_WAIT1:
            time.sleep(0.001)
        self.provider.hung_up.set()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextmanager
def fake_provider() -> Iterator[FakeProvider]:
    """A running server on a free port of 127.0.0.1; `base_url` has no path."""
    provider = FakeProvider()
    handler = type("BoundHandler", (Handler,), {"provider": provider})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    provider.base_url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def install_profile(server: FakeProvider, home: Path, api: str) -> None:
    """Make the provider known to a service, as the profile `local`, by two TOML files in its data home."""
    suffix = "" if api == "anthropic" else "/v1"
    folder = home / "agents"
    (folder / "providers").mkdir(parents=True)
    (folder / "profiles").mkdir()
    (folder / "providers" / "local.toml").write_text(
        f'id = "local"\napi = "{api}"\nbase_url = "{server.base_url}{suffix}"\n'
        '[models."model-x"]\ncontext = 100000\ninput = 3.0\noutput = 15.0\n'
    )
    (folder / "profiles" / "local.toml").write_text(
        'id = "local"\nprovider = "local"\nmodel = "model-x"\ntitle = "A local model"\n'
    )
