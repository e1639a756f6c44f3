"""What a session may answer from instead of the model: the record of an earlier run, or a cache of replies."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from loop.gateway.content import content_key, differences
from loop.gateway.types import RUN_ENDED, CallRefused, Upstream
from loop.types import ModelCall

NOT_RECORDED = 409


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first call of a replay that is not as recorded: its index, and what differs."""

    index: int
    what: str


class Record:
    """The calls of an earlier run. Each is answered once, to a request of the same content; safe between threads.

    Identical requests get the recorded replies in their order. Nothing is answered that was not recorded.
    """

    def __init__(self, calls: Sequence[ModelCall]) -> None:
        self._lock = threading.Lock()
        self._asked: dict[str, deque[ModelCall]] = {}
        self._by_index = {call.index: call for call in calls}
        self._first: Divergence | None = None
        for call in sorted(calls, key=lambda call: call.index):
            if "model" in call.request:
                self._asked.setdefault(content_key(call.request), deque()).append(call)

    def take(self, index: int, request: Mapping[str, Any]) -> ModelCall:
        """The recorded call with this content. Raises CallRefused (409) when there is none left."""
        with self._lock:
            waiting = self._asked.get(content_key(request))
            if waiting:
                return waiting.popleft()
            what = self._explain(index, request, known=waiting is not None)
            if self._first is None or index < self._first.index:
                self._first = Divergence(index, what)
        raise CallRefused(NOT_RECORDED, f"Call {index} is not in the record: {what}.")

    def divergence(self) -> Divergence | None:
        """The first call that was not as recorded, or else the first recorded call that was never made."""
        with self._lock:
            left = [call for calls in self._asked.values() for call in calls if call.status != RUN_ENDED]
            if self._first is not None or not left:
                return self._first
            return Divergence(min(call.index for call in left), "the recorded call was not made")

    def _explain(self, index: int, request: Mapping[str, Any], *, known: bool) -> str:
        if known:
            return "it was asked more often than recorded"
        recorded = self._by_index.get(index)
        if recorded is None or "model" not in recorded.request:
            return f"the record has no model call {index}"
        unlike = list(islice(differences(recorded.request, request), 4))
        content = [
            each for each in unlike if not each.startswith("seed ")
        ]  # the seed only follows the content
        return "; ".join((content or unlike)[:3])


class ReplyCache:
    """Replies by the content of their requests, as files below a folder of ours. Safe between processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @staticmethod
    def key(upstream: Upstream, request: Mapping[str, Any], occurrence: int) -> str:
        """Which model was asked what, for the how-manieth time in its run."""
        where = upstream.base_model or upstream.base_url
        return content_key([where, upstream.adapter_digest, upstream.served_model, dict(request), occurrence])

    def get(self, key: str) -> dict[str, Any] | None:
        """The reply stored under a key; None when there is none that can be read."""
        try:
            value = json.loads(self._path(key).read_bytes())
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) and "choices" in value and "usage" in value else None

    def put(self, key: str, reply: Mapping[str, Any]) -> None:
        """Store a reply, whole or not at all."""
        path = self._path(key)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".incoming-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(reply, file)
        os.replace(name, path)

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"


@dataclass(frozen=True, slots=True)
class Memory:
    """Where a session looks first. With a `record` the model is never asked; a `cache` is asked before it."""

    record: Record | None = None
    cache: ReplyCache | None = None
