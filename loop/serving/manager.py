"""Starts, finds and stops model servers. One server a base model and state folder, shared by everyone on the host."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from loop.errors import ProviderError
from loop.serving.server import lock_path, model_name

ROOT = Path(__file__).resolve().parents[2]
START_S = 120.0
CHECK_S = 15.0
STOP_S = 5.0
PASSED_ON = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "TMPDIR", "VIRTUAL_ENV")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True, slots=True)
class Served:
    """Where a model answers, and the name to ask for: the base model's, or an adapter's digest."""

    base_url: str
    model: str


def ensure_server(model_dir: Path, state_dir: Path, engine: str = "auto", idle_s: float = 900.0) -> str:
    """Base URL (ending in /v1) of a healthy server of this model; starts one when there is none.

    Safe when several call at once. A dead or hung server is replaced; its adapters must be loaded again.
    Raises ProviderError when no server comes up.
    """
    state = _state_path(model_dir, state_dir, engine)
    state_dir.mkdir(parents=True, exist_ok=True)
    with _locked(state):
        url = _healthy(state)
        if url is None:
            _end(state)
            url = _start(model_dir, state, engine, idle_s)
    return url


def serve(model_dir: Path, state_dir: Path, adapter: tuple[str, Path] | None = None) -> Served:
    """A healthy server with the base model or (digest, folder) of an adapter on it. Raises ProviderError."""
    url = ensure_server(model_dir, state_dir)
    if adapter is None:
        return Served(url, model_name(model_dir))
    ensure_adapter(url, *adapter)
    return Served(url, adapter[0])


def ensure_adapter(base_url: str, digest: str, adapter_dir: Path) -> None:
    """Have an adapter served under its digest; nothing to do when it already is. Raises ProviderError."""
    models = _call(base_url, "GET", "/models")["data"]
    if any(model["id"] == digest for model in models):
        return
    asked = {"lora_name": digest, "lora_path": str(adapter_dir.resolve())}
    _call(base_url, "POST", "/load_lora_adapter", asked)


def stop_servers(state_dir: Path) -> None:
    """End every server that was started in this state folder."""
    for state in sorted(state_dir.glob("server-*.json")):
        with _locked(state):
            _end(state)


def _state_path(model_dir: Path, state_dir: Path, engine: str) -> Path:
    """The state file of one engine on one state of a model folder: a changed model gets a server of its own."""
    folder = model_dir.resolve()
    try:
        written = [(folder / name).stat().st_mtime_ns for name in ("config.json", "model.safetensors")]
    except OSError as error:
        raise ProviderError(f"{folder} is no model folder ({error}); prepare the task first.") from error
    key = hashlib.sha256(repr((str(folder), written, engine)).encode()).hexdigest()[:16]
    return state_dir / f"server-{key}.json"


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    with lock_path(state).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read_state(state: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(state.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _healthy(state: Path) -> str | None:
    known = _read_state(state)
    if known is None:
        return None
    url = str(known["url"])
    try:
        health = _call(url.removesuffix("/v1"), "GET", "/health")
    except ProviderError:
        return None
    return url if health.get("pid") == known["pid"] else None


def _start(model_dir: Path, state: Path, engine: str, idle_s: float) -> str:
    command = [sys.executable, "-m", "loop.serving.server", "--model", str(model_dir.resolve())]
    command += ["--engine", engine, "--state", str(state.resolve()), "--idle", str(idle_s), "--detach"]
    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | ONE_THREAD | OFFLINE
    log = state.with_suffix(".log")
    with log.open("wb") as errors:
        launcher = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
    with launcher as started:
        assert started.stdout is not None
        ready, _, _ = select.select([started.stdout], [], [], START_S)
        line = started.stdout.readline() if ready else b""
    if not line:
        reason = log.read_text(encoding="utf-8", errors="replace").strip()[-600:] or "no reason was given"
        raise ProviderError(f"The model server of {model_dir} did not start within {START_S:.0f} s: {reason}")
    return str(json.loads(line)["url"])


def _end(state: Path) -> None:
    """End the process of a state file, if it is still that server, and remove the file."""
    known = _read_state(state)
    state.unlink(missing_ok=True)
    if known is None:
        return
    try:
        process = os.pidfd_open(int(known["pid"]))
    except ProcessLookupError:
        return
    try:
        command = Path(f"/proc/{int(known['pid'])}/cmdline").read_bytes()
        if str(state.resolve()).encode() not in command.split(b"\0"):
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(process, number)
            if select.select([process], [], [], STOP_S)[0]:
                return
    except (ProcessLookupError, FileNotFoundError):
        return
    finally:
        os.close(process)


def _call(base_url: str, method: str, route: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    parts = urlsplit(base_url)
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port, timeout=CHECK_S if body is None else START_S
    )
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, parts.path + route, data, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        raw = reply.read()
        value = json.loads(raw) if raw.lstrip()[:1] == b"{" else {"text": raw.decode(errors="replace")}
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ProviderError(f"The model server at {base_url} did not answer {route}: {error!r}.") from error
    finally:
        connection.close()
    if reply.status != 200:
        raise ProviderError(f"The model server at {base_url} refused {route}: {value}.")
    return dict(value)
