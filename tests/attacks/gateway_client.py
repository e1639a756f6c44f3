"""Put beside every attack on the gateway: plain requests to the model's address. MARK must never reach a provider."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

MARK = "SMUGGLED"
LAST = "the last honest call"
HELLO = [{"role": "user", "content": "hello"}]
ADDRESS = urlsplit(os.environ.get("OPENAI_BASE_URL", ""))
WHERE = (ADDRESS.hostname or "127.0.0.1", ADDRESS.port or 0)


def post(path: str, body: object, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Status and text of the answer; (0, reason) when there was none. `body` is JSON, or bytes as they are."""
    connection = http.client.HTTPConnection(*WHERE, timeout=10)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request("POST", path, data, {"Content-Type": "application/json", **(headers or {})})
        reply = connection.getresponse()
        return reply.status, reply.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, repr(error)
    finally:
        connection.close()


def chat(headers: Mapping[str, str] | None = None, **fields: Any) -> tuple[int, str]:
    """A chat completion with these fields."""
    return post("/v1/chat/completions", {"model": "task-model", "messages": HELLO, **fields}, headers)


def message(headers: Mapping[str, str] | None = None, **fields: Any) -> tuple[int, str]:
    """An Anthropic message with these fields."""
    return post(
        "/v1/messages", {"model": "task-model", "messages": HELLO, "max_tokens": 5, **fields}, headers
    )


def user(*blocks: Any) -> list[dict[str, Any]]:
    """One user message of content blocks."""
    return [{"role": "user", "content": list(blocks)}]


def raw(data: bytes, seconds: float = 2.0) -> bytes:
    """What comes back for these bytes on a connection of their own, until it ends or nothing more comes."""
    got = b""
    try:
        with socket.create_connection(WHERE, timeout=seconds) as connection:
            connection.sendall(data)
            while part := connection.recv(65536):
                got += part
    except OSError:
        return got
    return got


def last() -> None:
    """The gateway still does its work."""
    print("last:", chat(messages=[{"role": "user", "content": LAST}]))
