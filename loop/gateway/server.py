"""HTTP/1.1 with keep-alive on one unix socket; one thread a connection."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from loop.errors import SandboxError
from loop.gateway.memory import Memory
from loop.gateway.session import ANTHROPIC, OPENAI, Answer, GatewaySession, refusal_answer
from loop.gateway.types import TASK_MODEL, CallRefused, GatewayLimits, Upstream
from loop.gateway.upstream import cut

ROUTES = {"/v1/chat/completions": OPENAI, "/v1/messages": ANTHROPIC}
JOIN_S = 5.0
MAX_LENGTH_DIGITS = 12
REFUSED_KEPT = 16
PHRASES = {200: "OK", 400: "Bad Request", 402: "Payment Required", 404: "Not Found", 413: "Content Too Large"}
MODELS = {
    "object": "list",
    "data": [
        {"id": TASK_MODEL, "object": "model", "created": 0, "owned_by": "pawl", "type": "model",
         "display_name": TASK_MODEL, "created_at": "1970-01-01T00:00:00Z"}
    ],
    "has_more": False,
    "first_id": TASK_MODEL,
    "last_id": TASK_MODEL,
}  # fmt: skip


def http_bytes(answer: Answer, *, close: bool) -> bytes:
    """A whole HTTP response."""
    lines = [
        f"HTTP/1.1 {answer.status} {PHRASES.get(answer.status, 'Status')}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        f"Connection: {'close' if close else 'keep-alive'}",
    ]
    if answer.status >= 400:
        lines.append(f"x-should-retry: {'false' if answer.final else 'true'}")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + answer.body


class Handler(BaseHTTPRequestHandler):
    """Reads requests of one connection and answers them through the session."""

    protocol_version = "HTTP/1.1"
    timeout = 300
    server: UnixServer  # type: ignore[assignment]

    def do_POST(self) -> None:
        """Model calls."""
        api = ROUTES.get(self.path.partition("?")[0])
        if api is None:
            self._answer(
                refusal_answer(OPENAI, CallRefused(404, f"{self.path[:80]} does not exist here.")), close=True
            )
            return
        try:
            raw = self._body()
        except CallRefused as refusal:
            self._answer(refusal_answer(api, refusal), close=True)
            return
        self._answer(self.server.session.handle(api, raw))

    def do_GET(self) -> None:
        """The list of the one model."""
        if self.headers.get("Content-Length", "0") != "0" or self.headers.get("Transfer-Encoding"):
            self._answer(
                refusal_answer(OPENAI, CallRefused(400, "Send this request without a body.")), close=True
            )
        elif self.path.partition("?")[0] == "/v1/models":
            self._answer(Answer(200, "application/json", json.dumps(MODELS).encode()))
        else:
            self._answer(
                refusal_answer(OPENAI, CallRefused(404, f"{self.path[:80]} does not exist here.")), close=True
            )

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Malformed HTTP: a JSON error, and the connection is closed. Never a 5xx: it is the client's fault."""
        refusal = CallRefused(code if code < 500 else 400, f"{message or 'The request is malformed'}.")
        self._answer(refusal_answer(OPENAI, refusal), close=True)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing a harness sends is written to our log."""

    def _body(self) -> bytes:
        lengths = self.headers.get_all("Content-Length") or [""]
        length = lengths[0]
        if self.headers.get("Transfer-Encoding") or not (length.isascii() and length.isdigit()):
            raise CallRefused(411, "Send the body with a Content-Length.")
        if len(lengths) > 1 or len(length) > MAX_LENGTH_DIGITS:
            raise CallRefused(400, "Send one Content-Length.")
        if int(length) > self.server.limits.max_body_bytes:
            raise CallRefused(413, f"The body is larger than {self.server.limits.max_body_bytes} bytes.")
        raw = self.rfile.read(int(length))
        if len(raw) != int(length):
            raise CallRefused(400, "The body ended early.")
        return raw

    def _answer(self, answer: Answer, *, close: bool = False) -> None:
        self.close_connection = close or self.close_connection
        self.wfile.write(http_bytes(answer, close=self.close_connection))


class UnixServer:
    """Accepts connections on a unix socket until it is closed."""

    def __init__(self, path: Path, session: GatewaySession, limits: GatewayLimits) -> None:
        self.session = session
        self.limits = limits
        self._path = path
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._refused: deque[socket.socket] = deque()
        self._closing = False
        self._listener = listen(path)
        self._acceptor = threading.Thread(target=self._accept, name="gateway-accept", daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Remove the socket, cut every connection and wait for the threads (at most 5 s)."""
        with self._lock:
            self._closing = True
            connections = dict(self._open)
        self._path.unlink(missing_ok=True)
        cut(self._listener)
        for connection in connections:
            cut(connection)
        for thread in (self._acceptor, *connections.values()):
            thread.join(JOIN_S)
        for connection in self._refused:
            connection.close()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._closing:
                    return
                continue
            with self._lock:
                full = len(self._open) >= self.limits.max_connections
                if not self._closing and not full:
                    thread = threading.Thread(
                        target=self._serve, args=(connection,), name="gateway", daemon=True
                    )
                    self._open[connection] = thread
                    thread.start()
                    continue
            self._refuse(connection)

    def _refuse(self, connection: socket.socket) -> None:
        """Say that there are too many connections. The newest of them stay open for a while, unread: a client
        that is still sending reads the answer instead of a broken pipe."""
        sentence = f"More than {self.limits.max_connections} connections at once; reuse them or wait."
        refusal = CallRefused(429, sentence, final=False)
        try:
            connection.settimeout(1.0)
            connection.sendall(http_bytes(refusal_answer(OPENAI, refusal), close=True))
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            cut(connection)
        self._refused.append(connection)
        if len(self._refused) > REFUSED_KEPT:
            self._refused.popleft().close()

    def _serve(self, connection: socket.socket) -> None:
        try:
            Handler(connection, ("sandbox", 0), self)  # type: ignore[arg-type]
        except (OSError, ValueError):
            cut(connection)
        finally:
            with self._lock:
                self._open.pop(connection, None)
            connection.close()


def listen(path: Path) -> socket.socket:
    """A listening unix socket that any uid may connect to; the folder around it is what protects it.

    Raises SandboxError when the socket cannot be made. Long paths are reached through the folder's own
    descriptor, because a socket address holds 107 bytes only.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            path.unlink(missing_ok=True)
            listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)
        path.chmod(0o666)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise SandboxError(
            f"The model socket {path} could not be made ({error.strerror}); check the folder."
        ) from error
    return listener


@contextmanager
def open_gateway(
    socket_path: Path, upstream: Upstream, limits: GatewayLimits, seed: int, memory: Memory | None = None
) -> Iterator[GatewaySession]:
    """Serve model calls on `socket_path` while the context is open; afterwards the session is only a record.

    `seed` makes sampling repeatable; `memory` is asked before the model, or instead of it. Raises SandboxError when
    the socket cannot be made.
    """
    session = GatewaySession(upstream, limits, seed, memory or Memory())
    server = UnixServer(socket_path, session, limits)
    try:
        yield session
    finally:
        session.close()
        server.close()
