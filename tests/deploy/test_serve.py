"""`serve`, as a newcomer runs it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management.base import CommandError
from django.test import Client

from deploy.home import REPO
from deploy.management.commands.serve import listen
from deploy.prepare import pending_migrations
from tests.conftest import Manage
from tests.deploy.test_services import alive, wait_until


@pytest.fixture
def desk(service_env: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], dict[str, object]]]:
    process = subprocess.Popen(
        [sys.executable, str(REPO / "manage.py"), "serve", "--port", "0", "--json"],
        env=service_env,
        cwd=REPO,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        yield process, json.loads(process.stdout.readline())
        process.kill()


def test_the_desk_opens_with_its_services_and_closes_without_leftovers(
    desk: tuple[subprocess.Popen[str], dict[str, object]], pawl_home: Path
) -> None:
    process, said = desk
    assert (said["queue"], said["workers"]) == ("here", "here")
    address = str(said["url"]).removeprefix("http://").rstrip("/")
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request("GET", "/admin/login/")
    answer = connection.getresponse()
    assert answer.status == 200
    assert "unsafe-inline" not in str(answer.headers["Content-Security-Policy"])
    assert answer.headers["X-Frame-Options"] == "DENY"
    answer.read()
    connection.request("GET", "/static/admin/css/base.css", headers={"Accept-Encoding": "identity"})
    styles = connection.getresponse()
    assert (styles.status, styles.headers["Content-Type"]) == (200, 'text/css; charset="utf-8"')
    assert len(styles.read()) > 1000
    connection.close()
    pids = said["pids"]
    assert isinstance(pids, dict) and "redis" in pids
    assert (pawl_home / "db.sqlite3").exists()
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(30) == 0
    wait_until(lambda: not any(alive(pid) for pid in pids.values()), "the services ended with the desk")


def test_a_port_in_use_is_one_sentence(manage: Manage) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = manage("serve", "--port", str(port))
    assert done.returncode == 1
    assert (
        done.stderr.strip()
        == f"Port {port} is in use; stop what runs there or choose another: --port {port + 1}"
    )


@pytest.mark.parametrize(("host", "port"), [("not.a.host.invalid", 0), ("127.0.0.1", 99999)])
def test_an_impossible_address_is_one_sentence(host: str, port: int) -> None:
    with pytest.raises(CommandError, match="Cannot listen on"):
        listen(host, port)


@pytest.mark.django_db
def test_an_unknown_host_is_refused(client: Client) -> None:
    assert client.get("/admin/login/", HTTP_HOST="evil.example").status_code == 400


@pytest.mark.django_db
def test_the_test_database_is_up_to_date() -> None:
    assert pending_migrations() == []


def test_setting_up_twice_applies_migrations_once(manage: Manage) -> None:
    first = json.loads(manage("setup", "--json").stdout)
    again = json.loads(manage("setup", "--json").stdout)
    assert first["migrations_applied"]
    assert again["migrations_applied"] == []
    assert again["demo"] is False
