"""One attempt at the upstream over kept-alive connections, and the check of what it answers."""

from __future__ import annotations

import http.client
import json
import re
import select
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from loop.gateway.shapes import UNSTORABLE
from loop.gateway.types import TASK_MODEL, Upstream

MAX_REPLY_BYTES = 16 * 2**20
BLOCK = 2**16
KEY_HEAD = 6
ESCAPED = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
FINISHES = frozenset({"stop", "length", "tool_calls", "content_filter"})


class AttemptFailed(Exception):
    """One attempt without an answer.

    `status` is the upstream's (0 when there was none); `retry`: another attempt may help; `billed`: the
    upstream may have charged for it; `wait_s`: what the upstream asked us to wait.
    """

    def __init__(
        self, sentence: str, *, status: int = 0, retry: bool = True, billed: bool = False, wait_s: float = 0.0
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.retry = retry
        self.billed = billed
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens that the upstream counted; `cache_read` and `cache_write` are part of `prompt`."""

    prompt: int
    completion: int
    cache_read: int = 0
    cache_write: int = 0

    @property
    def fresh(self) -> int:
        """Prompt tokens at the ordinary price."""
        return max(0, self.prompt - self.cache_read - self.cache_write)

    def as_json(self) -> dict[str, int]:
        """As a chat completion reports it."""
        total = self.prompt + self.completion
        return {"prompt_tokens": self.prompt, "completion_tokens": self.completion, "total_tokens": total}


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """A checked answer without its usage; `model` is what the upstream calls itself, `size` its bytes."""

    reply: dict[str, Any]
    usage: Spent | None
    model: str
    size: int


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket file."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(self.timeout)
        try:
            sock.connect(self._path)
        except OSError:
            sock.close()
            raise
        self.sock = sock


class UpstreamClient:
    """A pool of kept-alive connections to one upstream; safe between threads."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._parts = urlsplit(upstream.base_url)
        self._path = (self._parts.path.rstrip("/") or "/v1") + "/chat/completions"
        self._idle: list[http.client.HTTPConnection] = []
        self._busy: set[http.client.HTTPConnection] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if upstream.api_key:
            self._headers["Authorization"] = f"Bearer {upstream.api_key}"

    def ask(self, payload: bytes, deadline: float) -> ModelAnswer:
        """Post one body and return the checked answer; `deadline` on the monotonic clock. Raises AttemptFailed."""
        connection, sent = self._take(deadline), False
        try:
            connection.request("POST", self._path, payload, self._headers)
            sent, sock = True, connection.sock
            response = connection.getresponse()
            raw = read_within(response, sock, deadline)
        except (OSError, http.client.HTTPException) as error:
            self._drop(connection)
            slow = isinstance(error, TimeoutError)
            detail = "took too long" if slow else f"dropped ({type(error).__name__})"
            raise AttemptFailed(f"The connection to the model server {detail}.", billed=sent) from error
        self._give_back(connection, response)
        return self._read(response, raw)

    def close(self) -> None:
        """Cut every connection; attempts in flight fail at once."""
        with self._lock:
            self._closed = True
            idle, busy = self._idle, list(self._busy)
            self._idle = []
        for connection in idle:
            connection.close()
        for connection in busy:
            sock = connection.sock
            if sock is not None:
                cut(sock)

    def _take(self, deadline: float) -> http.client.HTTPConnection:
        timeout = deadline - time.monotonic()
        if timeout <= 0:
            raise AttemptFailed("The call's deadline passed.", retry=False)
        with self._lock:
            if self._closed:
                raise AttemptFailed("The run is over.", retry=False)
            connection = self._kept() or self._new(timeout)
            self._busy.add(connection)
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        return connection

    def _kept(self) -> http.client.HTTPConnection | None:
        """An idle connection that the upstream has not closed meanwhile."""
        while self._idle:
            connection = self._idle.pop()
            if not readable(connection.sock):
                return connection
            connection.close()
        return None

    def _new(self, timeout: float) -> http.client.HTTPConnection:
        if self._upstream.uds:
            return UnixConnection(self._upstream.uds, timeout)
        secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        return kind(self._parts.hostname or "", self._parts.port, timeout=timeout)

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._busy.discard(connection)
        connection.close()

    def _give_back(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        if response.will_close or not response.isclosed():
            self._drop(connection)
            return
        with self._lock:
            self._busy.discard(connection)
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _read(self, response: http.client.HTTPResponse, raw: bytes) -> ModelAnswer:
        status = response.status
        if self._upstream.api_key:
            raw = raw.replace(self._upstream.api_key.encode(), b"[key]")
        if status in (401, 403):
            raise AttemptFailed("The model server refused the gateway's own key.", status=status, retry=False)
        if status in RETRIED:
            wait = retry_after(response.getheader("retry-after"))
            raise AttemptFailed(f"The model server answered {status}.", status=status, wait_s=wait)
        if status != 200:
            raise AttemptFailed(self._explain(status, raw), status=status, retry=False)
        try:
            if len(raw) > MAX_REPLY_BYTES:
                raise ValueError("the reply is too large")
            return checked(parse_reply(raw), len(raw))
        except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
            raise AttemptFailed(
                f"The model server's reply is not a chat completion ({type(error).__name__}).", billed=True
            ) from error

    def _explain(self, status: int, raw: bytes) -> str:
        try:
            body = json.loads(raw)
            detail = (
                body["error"]["message"] if isinstance(body.get("error"), dict) else body.get("message", "")
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            detail = ""
        text = str(detail)[:500]
        key = self._upstream.api_key
        if len(key) > 2 * KEY_HEAD:  # providers quote keys with their middle left out
            text = re.sub(re.escape(key[:KEY_HEAD]) + r"\S*", "[key]", text)
        return f"The model server answered {status}: {text or 'no reason given'}."


def readable(sock: socket.socket) -> bool:
    """Whether an idle connection has anything to say: that is its end."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def read_within(response: http.client.HTTPResponse, sock: socket.socket, deadline: float) -> bytes:
    """The whole body, at most MAX_REPLY_BYTES + 1. Raises TimeoutError at the deadline, however slowly it drips."""
    parts: list[bytes] = []
    left = MAX_REPLY_BYTES + 1
    while left > 0 and response.length != 0:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        sock.settimeout(left_s)
        part = response.read1(min(left, BLOCK))
        if not part:
            break
        parts.append(part)
        left -= len(part)
    if left and response.length:
        raise http.client.IncompleteRead(b"", response.length)
    if left:
        response.close()
    return b"".join(parts)


def parse_reply(raw: bytes) -> Any:
    """The reply as JSON that every database takes: null for NaN, and a mark for NUL and halves of characters."""
    value = json.loads(raw, parse_constant=lambda name: None)
    return mended(value) if ESCAPED.search(raw) else value


def mended(value: Any) -> Any:
    """A JSON value without the characters that cannot be stored."""
    if isinstance(value, str):
        return UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {mended(key): mended(entry) for key, entry in value.items()}
    return [mended(entry) for entry in value] if isinstance(value, list) else value


def cut(sock: socket.socket) -> None:
    """Shut a socket down in both directions, so that whoever reads it wakes up."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def retry_after(value: str | None) -> float:
    """Seconds asked for by a retry-after header; 0 for none and for dates."""
    try:
        return max(0.0, float(value or 0))
    except ValueError:
        return 0.0


def checked(body: Any, size: int) -> ModelAnswer:
    """The parts of a chat completion that are handed on. Raises ValueError, LookupError or TypeError."""
    choice = body["choices"][0]
    finish, content = choice.get("finish_reason"), choice["message"].get("content")
    message: dict[str, Any] = {"role": "assistant", "content": content}
    calls = [
        {"id": str(call["id"]), "type": "function",
         "function": {"name": str(call["function"]["name"]), "arguments": str(call["function"]["arguments"])}}
        for call in choice["message"].get("tool_calls") or []
    ]  # fmt: skip
    if calls:
        message["tool_calls"] = calls
    elif content is None and finish in FINISHES:
        # Refused, or cut off while it thought: an answer, and within a harness's power.
        message["content"] = ""
    elif not isinstance(content, str):
        raise TypeError("a reply needs text or tool calls")
    reply = {
        "object": "chat.completion",
        "created": int(time.time()),
        "model": TASK_MODEL,
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": finish if finish in FINISHES else "stop",
                "logprobs": choice.get("logprobs"),
            }
        ],
    }
    return ModelAnswer(reply, usage_of(body.get("usage")), str(body.get("model") or "")[:200], size)


def usage_of(usage: Any) -> Spent | None:
    """Token counts, or None when the upstream gave none that make sense."""
    if not isinstance(usage, dict):
        return None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(completion, int) or min(prompt, completion) < 0:
        return None
    details = usage.get("prompt_tokens_details")
    cached = details if isinstance(details, dict) else {}
    read, write = (cached.get(name) or 0 for name in ("cached_tokens", "cache_write_tokens"))
    if (
        not isinstance(read, int)
        or not isinstance(write, int)
        or min(read, write) < 0
        or read + write > prompt
    ):
        return None
    return Spent(prompt, completion, read, write)
