"""`serve_live` from outside: what it believes, what it asks for, and real processes that obey a stop."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.management import CommandError, call_command

from deploy.home import REPO
from loop.serving.keeper import LeaseKeeper, NotServing, Source
from tests.conftest import Manage

WHY = "Something looks wrong tonight."
ANSWERS: list[tuple[int, bytes, str]] = [
    (200, b"no json", "gives no answer"),
    (200, b"[]", "no JSON object"),
    (200, b"{}", "What the service gave is no lease"),
    (200, b'{"receipt": 1, "release": 2, "lease": 3}', "What the service gave is no lease"),
    (200, b"x" * (2**20 + 1), "bytes"),
    (404, b'{"error": "Task is not installed."}', "Task is not installed."),
    (500, b"{}", "it answered 500"),
]


@pytest.mark.parametrize(("status", "body", "sentence"), ANSWERS)
def test_nonsense_is_no_lease(status: int, body: bytes, sentence: str) -> None:
    class Liar(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Liar) as liar:
        threading.Thread(target=liar.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{liar.server_address[1]}"
        keeper = LeaseKeeper(Source(url, "t", "coins", ()))
        keeper.renew()
        with pytest.raises(NotServing, match=sentence):
            keeper.hold()
        liar.shutdown()


def test_the_command_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAWL_READ_TOKEN", raising=False)
    with pytest.raises(CommandError, match="Set PAWL_READ_TOKEN"):
        call_command("serve_live", "coins")
    with pytest.raises(CommandError, match="at most 10"):
        call_command("serve_live", "coins", refresh=11.0)
    monkeypatch.setenv("PAWL_READ_TOKEN", "t")
    with pytest.raises(CommandError, match="--key"):
        call_command("serve_live", "coins", key=["nonsense"])


def test_real_processes_obey_a_stop_without_a_queue_and_without_workers(
    service_env: dict[str, str], pawl_home: Path, tmp_path: Path, manage: Manage
) -> None:
    environment = {**service_env, "PAWL_SIGNER_SOCKET": str(tmp_path / "s")}
    setup = [sys.executable, "-m", "tests.loop.real_service", "serving", "-"]
    folder = ["--folder", str(pawl_home / "keys"), "--socket", str(tmp_path / "s"), "--create"]
    listener = socket.create_server(("127.0.0.1", 0))
    web = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with ExitStack() as running:

        def run(*argv: str, **env: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, *argv], cwd=REPO, env={**environment, **env}, stdout=subprocess.PIPE,
                pass_fds=[listener.fileno()], text=True,
            )  # fmt: skip
            running.callback(ended, process)
            return process

        pawl_home.mkdir(mode=0o700)
        run("-m", "governance.audit.signer_process", *folder)
        until(lambda: (tmp_path / "s").exists(), "the signer is there")
        token = subprocess.run(
            setup, cwd=REPO, env=environment, capture_output=True, text=True, check=True, timeout=120
        ).stdout.strip()
        run(
            "-m", "uvicorn", "deploy.asgi:application", "--fd", str(listener.fileno()), "--log-level", "error"
        )
        command = ["serve_live", "coins", "--url", web, "--port", "0", "--refresh", "0.2", "--json"]
        served = run(str(REPO / "manage.py"), *command, PAWL_READ_TOKEN=token)
        assert served.stdout is not None
        url = json.loads(served.stdout.readline())["url"]
        until(lambda: httpx.get(f"{url}/health").status_code == 200, "it is served")
        stopped = manage(
            "stop", "coins", "--reason", WHY, "--as", "oscar",
            PAWL_PASSWORD="correct-horse-oscar", PAWL_SIGNER_SOCKET=str(tmp_path / "s"),
        )  # fmt: skip
        assert stopped.returncode == 0, stopped.stderr
        until(lambda: httpx.get(f"{url}/health").status_code == 503, "serving obeys")
        why = httpx.get(f"{url}/health").json()["error"]["message"]
        assert why.startswith(
            "Nothing is served for now. The service gave no lease: The task coins was stopped on"
        )
        served.terminate()
        assert served.wait(30) == 0
    listener.close()


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until it holds, for at most a minute."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, f"not within a minute: {what}"
        time.sleep(0.05)


def ended(process: subprocess.Popen[str]) -> None:
    """End a process that a test started."""
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
