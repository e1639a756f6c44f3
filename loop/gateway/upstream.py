"""One attempt at the upstream over kept-alive connections, and the check of what it answers."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from loop.gateway.types import TASK_MODEL, Upstream

MAX_REPLY_BYTES = 16 * 2**20
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

    def ask(self, payload: bytes, deadline: float) -> dict[str, Any]:
        """Post one body and return the checked reply; `deadline` on the monotonic clock.

        Raises AttemptFailed. A kept-alive connection that the upstream closed while it was idle is replaced
        at once and is no fault.
        """
        while True:
            connection = self._take(deadline)
            reused, sent = connection.sock is not None, False
            try:
                connection.request("POST", self._path, payload, self._headers)
                sent = True
                response = connection.getresponse()
                raw = response.read(MAX_REPLY_BYTES + 1)
            except (OSError, http.client.HTTPException) as error:
                self._drop(connection)
                if reused and isinstance(error, http.client.RemoteDisconnected | BrokenPipeError):
                    continue
                detail = (
                    "took too long"
                    if isinstance(error, TimeoutError)
                    else f"dropped ({type(error).__name__})"
                )
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
            connection = self._idle.pop() if self._idle else self._new(timeout)
            self._busy.add(connection)
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        return connection

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

    def _read(self, response: http.client.HTTPResponse, raw: bytes) -> dict[str, Any]:
        status = response.status
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
            return checked(json.loads(raw))
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
        if self._upstream.api_key:
            text = text.replace(self._upstream.api_key, "[key]")
        return f"The model server answered {status}: {text or 'no reason given'}."


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


def checked(body: Any) -> dict[str, Any]:
    """The parts of a chat completion that are handed on. Raises ValueError, LookupError or TypeError."""
    choice = body["choices"][0]
    message: dict[str, Any] = {"role": "assistant", "content": choice["message"].get("content")}
    calls = [
        {"id": str(call["id"]), "type": "function",
         "function": {"name": str(call["function"]["name"]), "arguments": str(call["function"]["arguments"])}}
        for call in choice["message"].get("tool_calls") or []
    ]  # fmt: skip
    if calls:
        message["tool_calls"] = calls
    elif not isinstance(message["content"], str):
        raise TypeError("a reply needs text or tool calls")
    finish = choice.get("finish_reason")
    return {
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
        "usage": usage_of(body.get("usage")),
    }


def usage_of(usage: Any) -> Mapping[str, int] | None:
    """Token counts, or None when the upstream gave none that make sense."""
    if not isinstance(usage, dict):
        return None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(completion, int) or min(prompt, completion) < 0:
        return None
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
