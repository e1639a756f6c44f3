"""Starting, sharing, replacing and ending model servers, with real processes."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from loop.errors import ProviderError
from loop.serving.manager import ensure_adapter, ensure_server, serve, stop_servers
from tests.loop.tiny_models import PROMPT, write_adapter, write_model


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny")


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "state"
    yield folder
    stop_servers(folder)


def health(url: str) -> dict[str, Any]:
    return dict(httpx.get(url.removesuffix("/v1") + "/health").json())


def ended(pid: int, within_s: float = 10.0) -> bool:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], within_s)[0])
    finally:
        os.close(process)


def test_all_who_ask_at_once_share_one_server(model_dir: Path, state_dir: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        urls = set(pool.map(lambda _: ensure_server(model_dir, state_dir), range(6)))
    assert len(urls) == 1
    assert health(urls.pop())["engine"] == "numpy"


def test_a_killed_server_is_replaced_and_its_adapter_loaded_again(
    model_dir: Path, state_dir: Path, tmp_path: Path
) -> None:
    adapter = ("d" * 64, write_adapter(tmp_path / "adapter"))
    first = serve(model_dir, state_dir, adapter)
    pid = health(first.base_url)["pid"]
    os.kill(pid, signal.SIGKILL)
    assert ended(pid)
    second = serve(model_dir, state_dir, adapter)
    assert health(second.base_url)["pid"] != pid
    body = {"model": second.model, "prompt": PROMPT, "temperature": 0, "max_tokens": 4}
    assert httpx.post(f"{second.base_url}/completions", json=body).status_code == 200


def test_a_server_that_hangs_is_ended_and_replaced(
    model_dir: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loop.serving.manager.CHECK_S", 0.3)
    monkeypatch.setattr("loop.serving.manager.STOP_S", 0.3)
    pid = health(ensure_server(model_dir, state_dir))["pid"]
    os.kill(pid, signal.SIGSTOP)
    assert health(ensure_server(model_dir, state_dir))["pid"] != pid
    assert ended(pid)


def test_a_server_that_nobody_asks_ends_by_itself(model_dir: Path, state_dir: Path) -> None:
    pid = health(ensure_server(model_dir, state_dir, idle_s=0.4))["pid"]
    assert ended(pid)
    assert not list(state_dir.glob("server-*.json"))


def test_a_server_whose_state_folder_was_removed_ends_by_itself(model_dir: Path, state_dir: Path) -> None:
    pid = health(ensure_server(model_dir, state_dir, idle_s=0.6))["pid"]
    shutil.rmtree(state_dir)
    assert ended(pid)


def test_stopping_ends_every_server_of_the_folder_and_may_be_repeated(
    tmp_path: Path, model_dir: Path, state_dir: Path
) -> None:
    other = write_model(tmp_path / "other", seed=1)
    pids = [health(ensure_server(folder, state_dir))["pid"] for folder in (model_dir, other)]
    assert pids[0] != pids[1]
    stop_servers(state_dir)
    assert all(ended(pid) for pid in pids)
    stop_servers(state_dir)


def test_a_state_file_never_ends_a_process_that_is_no_server(model_dir: Path, state_dir: Path) -> None:
    url = ensure_server(model_dir, state_dir)
    (state,) = state_dir.glob("server-*.json")
    known = json.loads(state.read_text())
    with subprocess.Popen(["sleep", "60"]) as bystander:
        state.write_text(json.dumps(known | {"pid": bystander.pid}))
        stop_servers(state_dir)
        assert bystander.poll() is None and health(url)["pid"] == known["pid"]
        bystander.kill()
    state.write_text(json.dumps(known))


def test_the_server_gets_none_of_the_secrets_of_its_starter(
    model_dir: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-very-secret")
    pid = health(ensure_server(model_dir, state_dir))["pid"]
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"sk-very-secret" not in environment and b"OPENBLAS_NUM_THREADS=1" in environment


def test_a_model_that_cannot_be_served_is_an_error_with_the_reason(model_dir: Path, state_dir: Path) -> None:
    with pytest.raises(ProviderError, match="no model folder"):
        ensure_server(model_dir / "absent", state_dir)
    (model_dir / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ProviderError, match="cannot be read as safetensors"):
        ensure_server(model_dir, state_dir, engine="numpy")


def test_an_adapter_that_cannot_be_loaded_is_an_error_with_the_reason(
    model_dir: Path, state_dir: Path, tmp_path: Path
) -> None:
    url = ensure_server(model_dir, state_dir)
    with pytest.raises(ProviderError, match="adapter_config"):
        ensure_adapter(url, "digest", tmp_path)
    stop_servers(state_dir)
    with pytest.raises(ProviderError, match="did not answer"):
        ensure_adapter(url, "digest", tmp_path)
