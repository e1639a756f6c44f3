"""The model server: one process, one base model, LoRA adapters by name, with OpenAI's and vLLM's routes.

    python -m loop.serving.server --model DIR --engine auto|numpy|transformers --state FILE

It binds 127.0.0.1 on a free port, writes the state file when it is ready, prints the same JSON line, and ends
by itself after `--idle` seconds without a request.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import sys
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

from loop.serving.engine import Engine, ModelUnusable, RequestRefused, write
from loop.serving.protocol import (
    Ask,
    chat_reply,
    completion_reply,
    parse_chat,
    parse_completion,
    parse_object,
    text_field,
)

MAX_BODY_BYTES = 4 * 2**20
KEEP_ALIVE_S = 600


def make_engine(kind: str, folder: Path) -> Engine:
    """`numpy`, `transformers`, or the first of them that can serve this model. Raises ModelUnusable."""
    if kind in ("auto", "numpy"):
        from loop.serving.numpy_engine import NumpyEngine

        try:
            return NumpyEngine(folder)
        except ModelUnusable:
            if kind == "numpy":
                raise
    try:
        from loop.serving.transformers_engine import TransformersEngine
    except ImportError as error:
        raise ModelUnusable(
            f"{folder} needs torch and transformers, which are not installed ({error}); install the train extra."
        ) from error
    return TransformersEngine(folder)


def model_name(folder: Path) -> str:
    """The base model's name: that of its manifest.json, else its folder's."""
    try:
        name = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return folder.name
    return str(name)


class ModelServer(ThreadingHTTPServer):
    """Serves one engine. `asked` is the time of the last request, on the monotonic clock."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, engine: Engine, base: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.engine, self.base = engine, base
        self.adapters: dict[str, str] = {}
        self.changing = threading.Lock()
        self.asked = time.monotonic()

    @property
    def url(self) -> str:
        """The base of the OpenAI routes."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        """The reply to one request. Raises RequestRefused and ModelUnusable."""
        if method == "GET" and path == "/health":
            return {"status": "ok", "pid": os.getpid(), "model": self.base, "engine": self.engine.name}
        if method == "GET" and path == "/v1/models":
            return {"object": "list", "data": self._models()}
        if method == "POST" and path == "/v1/chat/completions":
            ask = parse_chat(parse_object(body), self.engine)
            return chat_reply(ask, self._write(ask), self.engine)
        if method == "POST" and path == "/v1/completions":
            ask = parse_completion(parse_object(body), self.engine)
            return completion_reply(ask, self._write(ask), self.engine)
        if method == "POST" and path == "/v1/load_lora_adapter":
            return self._load(parse_object(body))
        if method == "POST" and path == "/v1/unload_lora_adapter":
            return self._unload(parse_object(body))
        raise RequestRefused(f"There is no {method} {path[:80]} here.", 404)

    def _write(self, ask: Ask) -> list[Any]:
        if ask.model != self.base and ask.model not in self.adapters:
            raise RequestRefused(f"The model {ask.model[:80]!r} does not exist; load it first.", 404)
        adapter = None if ask.model == self.base else ask.model
        return [
            sample for prompt in ask.prompts for sample in write(self.engine, adapter, prompt, ask.sampling)
        ]

    def _models(self) -> list[dict[str, Any]]:
        base = {"id": self.base, "object": "model", "owned_by": "pawl", "root": self.base, "parent": None}
        adapters = list(self.adapters.items())
        return [base] + [base | {"id": name, "root": path, "parent": self.base} for name, path in adapters]

    def _load(self, body: dict[str, Any]) -> dict[str, Any]:
        name, path = text_field(body, "lora_name"), text_field(body, "lora_path")
        with self.changing:
            if name == self.base or self.adapters.get(name, path) != path:
                raise RequestRefused(
                    f"The name {name[:80]!r} is taken; every adapter needs a name of its own."
                )
            if name not in self.adapters:
                self.engine.load(name, Path(path))
                self.adapters[name] = path
        return {"status": "ok", "lora_name": name}

    def _unload(self, body: dict[str, Any]) -> dict[str, Any]:
        name = text_field(body, "lora_name")
        with self.changing:
            if self.adapters.pop(name, None) is None:
                raise RequestRefused(f"The adapter {name[:80]!r} is not loaded.", 404)
            self.engine.unload(name)
        return {"status": "ok", "lora_name": name}


class Answering(Protocol):
    """A server whose requests a Handler reads; `asked` is when the last one came or was answered."""

    asked: float

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        """The reply to one request. Raises RequestRefused and ModelUnusable."""


class Handler(BaseHTTPRequestHandler):
    """Reads a request, lets the server answer it and always replies with JSON."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "pawl-serving", ""
    disable_nagle_algorithm = True
    timeout = KEEP_ALIVE_S
    server: Answering  # type: ignore[assignment]

    def do_GET(self) -> None:
        """Health and the list of models."""
        self._reply("GET")

    def do_POST(self) -> None:
        """Completions and adapters."""
        self._reply("POST")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing per request: the gateway keeps the record of every call."""

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            raise RequestRefused("A request needs a plain Content-Length.", 411)
        if int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            raise RequestRefused(f"The body is larger than {MAX_BODY_BYTES} bytes.", 413)
        return self.rfile.read(int(length))

    def _reply(self, method: str) -> None:
        self.server.asked = time.monotonic()
        try:
            status, value = 200, self.server.answer(method, self.path, self._body())
        except (RequestRefused, ModelUnusable) as error:
            status = error.status if isinstance(error, RequestRefused) else 400
            kind = "invalid_request_error" if status < 500 else "server_error"
            value = {"error": {"message": str(error), "type": kind, "code": status}}
        except Exception:  # the boundary of the process: recorded in its log, told without details
            traceback.print_exc()
            message = "The server failed on this request; its log says why."
            status, value = 500, {"error": {"message": message, "type": "server_error", "code": 500}}
        data = json.dumps(value).encode()
        head = f"HTTP/1.1 {status} {self.responses[status][0]}\r\nContent-Type: application/json\r\n"
        close = "Connection: close\r\n" if self.close_connection else ""
        try:
            self.wfile.write(f"{head}{close}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        self.server.asked = time.monotonic()


def end_when_idle(server: ModelServer, state: Path, idle_s: float) -> None:
    """Shut the server down after `idle_s` seconds without a request, even when its state folder has been removed."""
    while True:
        time.sleep(max(0.05, server.asked + idle_s - time.monotonic()))
        try:
            idle = _still_idle(server, state, idle_s)
        except FileNotFoundError:
            idle = time.monotonic() - server.asked >= idle_s
        if idle:
            server.shutdown()
            return


def _still_idle(server: ModelServer, state: Path, idle_s: float) -> bool:
    """Whether nobody asks; the state file is then removed.

    The state file's lock is held while deciding, so nobody who just found the server healthy loses it.
    """
    with lock_path(state).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        idle = time.monotonic() - server.asked >= idle_s
        if idle:
            state.unlink(missing_ok=True)
        return idle


def lock_path(state: Path) -> Path:
    """The lock that whoever starts, checks or ends the server of a state file holds."""
    return state.with_suffix(".lock")


def write_state(state: Path, value: dict[str, Any]) -> None:
    """Replace the state file in one step."""
    partial = state.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(value) + "\n", encoding="utf-8")
    partial.replace(state)


def _detach() -> None:
    """Go on in a child of init, so that whoever started the server need not wait for it."""
    if os.fork():
        os._exit(0)
    os.setsid()


def main() -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--engine", choices=("auto", "numpy", "transformers"), default="auto")
    parser.add_argument("--state", type=Path, required=True, help="file to write when ready")
    parser.add_argument("--idle", type=float, default=900.0, help="seconds without a request before it ends")
    parser.add_argument("--detach", action="store_true", help="go to the background at once")
    arguments = parser.parse_args()
    if arguments.detach:
        _detach()
    try:
        engine = make_engine(arguments.engine, arguments.model)
    except ModelUnusable as error:
        print(error, file=sys.stderr)
        return 1
    server = ModelServer(engine, model_name(arguments.model))
    state = {"url": server.url, "pid": os.getpid(), "model": server.base, "engine": engine.name}
    write_state(arguments.state, state)
    print(json.dumps(state), flush=True)
    if arguments.detach:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    watch = threading.Thread(
        target=end_when_idle, args=(server, arguments.state, arguments.idle), daemon=True
    )
    watch.start()
    server.serve_forever()
    server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
