"""Serving one task's live release over HTTP, for as long as there is a lease on it.

    GET  /health         200 with release and end of the lease, else 503 with the reason
    POST /v1/run         {"inputs": [{"id": ...}, ...], "seed": 0} -> {"release", "outputs"}: the whole release
    GET  /v1/models, POST /v1/chat/completions, POST /v1/completions: its model alone, as OpenAI's clients ask

The lease is looked at before a request is begun and again before its answer leaves.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack
from http.server import ThreadingHTTPServer
from typing import Any

import httpx
import structlog
from django.db import DatabaseError

from governance.errors import GovernanceError
from loop.errors import LoopError, ProviderError
from loop.gateway import TASK_MODEL
from loop.serving.engine import RequestRefused
from loop.serving.keeper import Leased, LeaseKeeper, NotServing
from loop.serving.live_release import LoadedRelease, loaded
from loop.serving.protocol import parse_object
from loop.serving.server import Handler

MODEL_ROUTES = ("/v1/chat/completions", "/v1/completions")
MODEL_S = 120.0
RUNS_AT_ONCE = 2
_log = structlog.get_logger(__name__)


class LiveServer(ThreadingHTTPServer):
    """What is live for one task, while it is leased; call `refresh` every few seconds."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], keeper: LeaseKeeper) -> None:
        super().__init__(address, Handler)
        self.asked = time.monotonic()
        self._keeper = keeper
        self._runs = threading.Semaphore(RUNS_AT_ONCE)
        self._parts = ExitStack()
        self._loaded: LoadedRelease | None = None
        self._why_not_loaded = ""
        self._said = ""

    def refresh(self) -> None:
        """Renew the lease, follow the live release where it moved, and say on the log what changed."""
        self._keeper.renew()
        try:
            leased = self._keeper.hold()
            if self._loaded is None or self._loaded.release.digest != leased.release:
                self._load(leased)
            self._say(f"serving release {leased.release[:12]}" if self._loaded else self._why_not_loaded)
        except NotServing as why:
            self._say(f"not serving: {why}")

    def server_close(self) -> None:
        """Close the socket and remove what was loaded."""
        super().server_close()
        self._unload()

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        """The reply to one request. Raises RequestRefused; with status 503 while there is no lease."""
        try:
            leased = self._keeper.hold()
            ready = self._ready(leased)
            told = self._told(method, path, body, leased, ready)
            self._keeper.hold()
            self._ready(leased)
            return told
        except NotServing as why:
            raise RequestRefused(f"Nothing is served for now. {why}", 503) from why
        except RequestRefused:
            raise
        except LoopError as error:
            raise RequestRefused(str(error), 502) from error

    def _told(
        self, method: str, path: str, body: bytes, leased: Leased, ready: LoadedRelease
    ) -> dict[str, Any]:
        match method, path:
            case "GET", "/health":
                ends = leased.not_after.isoformat(timespec="seconds")
                return {"status": "serving", "task": ready.task.id, "release": leased.release, "until": ends}
            case "GET", "/v1/models":
                model = {"id": TASK_MODEL, "object": "model", "owned_by": "pawl", "root": leased.release}
                return {"object": "list", "data": [model] if ready.release.binding["base_model"] else []}
            case "POST", "/v1/run":
                return {"release": leased.release, "outputs": self._run(ready, parse_object(body))}
            case "POST", _ if path in MODEL_ROUTES:
                return _from_model(ready, path, parse_object(body))
        raise RequestRefused(f"There is no {method} {path[:80]} here.", 404)

    def _run(self, ready: LoadedRelease, body: dict[str, Any]) -> list[dict[str, Any]]:
        inputs, seed = body.get("inputs"), body.get("seed", 0)
        if not isinstance(inputs, list) or not all(isinstance(row, dict) for row in inputs):
            raise RequestRefused("`inputs` is a list of objects, each with a string `id`.")
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise RequestRefused("`seed` is a whole number.")
        with self._runs:
            return ready.run(inputs, seed)

    def _ready(self, leased: Leased) -> LoadedRelease:
        """What is loaded, when it is what is leased. Raises NotServing otherwise: the live release moved meanwhile."""
        ready = self._loaded
        if ready is None or ready.release.digest != leased.release:
            raise NotServing(
                self._why_not_loaded or f"Release {leased.release[:12]} is being loaded; ask again."
            )
        return ready

    def _load(self, leased: Leased) -> None:
        self._unload()
        try:
            self._loaded = self._parts.enter_context(loaded(leased.release))
            self._why_not_loaded = ""
        except (LoopError, GovernanceError, DatabaseError) as error:
            self._why_not_loaded = f"Release {leased.release[:12]} cannot be loaded: {error}"

    def _unload(self) -> None:
        self._loaded = None
        self._parts.close()

    def _say(self, state: str) -> None:
        if state != self._said:
            self._said = state
            _log.info(state)


def _from_model(ready: LoadedRelease, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The model's own answer, whatever name was asked for. Raises ProviderError when it does not answer."""
    upstream = ready.upstream()
    if upstream is None:
        raise RequestRefused(f"The task {ready.task.id} has no model; POST /v1/run runs its harness.", 404)
    if body.get("stream"):
        raise RequestRefused("Streams are not served; leave `stream` out.")
    try:
        reply = httpx.post(
            upstream.base_url + path.removeprefix("/v1"),
            content=json.dumps({**body, "model": upstream.served_model}),
            headers={"Content-Type": "application/json"},
            timeout=MODEL_S,
        )
        told = reply.json()
    except (httpx.HTTPError, ValueError) as error:
        raise ProviderError(
            f"The model of release {ready.release.digest[:12]} did not answer ({error!r})."
        ) from error
    if reply.status_code != 200:
        raise RequestRefused(
            str(told.get("error", {}).get("message", "The model refused.")), reply.status_code
        )
    return {**told, "model": TASK_MODEL}
