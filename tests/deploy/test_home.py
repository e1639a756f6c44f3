"""The data home."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy import home


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_home_and_its_folders_are_private(pawl_home: Path) -> None:
    home.ensure_folders()
    assert _mode(pawl_home) == 0o700
    assert {path.name for path in pawl_home.iterdir()} == set(home.FOLDERS)
    assert all(_mode(pawl_home / name) == 0o700 for name in home.FOLDERS)


def test_an_unknown_folder_is_refused(pawl_home: Path) -> None:
    with pytest.raises(ValueError, match="no folder 'secrets'"):
        home.folder("secrets")


def test_the_secret_is_made_once_and_readable_by_its_owner_alone(pawl_home: Path) -> None:
    first = home.secret_key()
    assert len(first) >= 50
    assert home.secret_key() == first
    assert _mode(pawl_home / "secret_key") == 0o600


def test_processes_that_race_for_the_secret_get_the_same_one(
    pawl_home: Path, service_env: dict[str, str]
) -> None:
    command = [sys.executable, "-c", "from deploy import home; print(home.secret_key())"]

    def call(_number: int) -> str:
        return subprocess.run(command, env=service_env, capture_output=True, text=True, check=True).stdout

    with ThreadPoolExecutor(6) as pool:
        found = set(pool.map(call, range(6)))
    assert len(found) == 1
    assert [path.name for path in pawl_home.glob(".secret*")] == []


def test_a_home_made_by_the_demo_stays_one(pawl_home: Path) -> None:
    home.init_home(demo=True)
    assert home.is_demo()
    home.init_home(demo=False)
    assert home.is_demo()


def test_a_real_home_never_becomes_a_demonstration(pawl_home: Path) -> None:
    home.init_home(demo=False)
    home.init_home(demo=True)
    assert not home.is_demo()


def test_a_home_with_a_database_but_no_record_is_real(pawl_home: Path) -> None:
    home.ensure_folders()
    with contextlib.closing(sqlite3.connect(home.database_file())) as connection:
        connection.execute("CREATE TABLE anything (id INTEGER)")
    home.init_home(demo=True)
    assert not home.is_demo()
    assert json.loads((pawl_home / "home.json").read_text())["demo"] is False


def test_a_database_that_cannot_be_read_is_taken_for_a_real_one(pawl_home: Path) -> None:
    home.ensure_folders()
    home.database_file().write_bytes(b"not a database")
    home.init_home(demo=True)
    assert not home.is_demo()


def test_a_database_that_was_only_opened_is_still_a_new_one(pawl_home: Path) -> None:
    home.ensure_folders()
    with contextlib.closing(sqlite3.connect(home.database_file())) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    home.init_home(demo=True)
    assert home.is_demo()


def test_a_database_elsewhere_is_never_a_demonstration(
    pawl_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.init_home(demo=True)
    monkeypatch.setenv("DATABASE_URL", "postgresql://db.example/pawl")
    assert not home.is_demo()


def test_a_deep_home_gets_a_short_private_folder_for_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAWL_HOME", str(tmp_path / ("deep" * 30)))
    short = tmp_path / "t"
    short.mkdir()
    monkeypatch.setattr(home.tempfile, "gettempdir", lambda: str(short))
    found = home.socket_folder()
    assert found.parent == short
    assert _mode(found) == 0o700
    found.chmod(0o755)
    with pytest.raises(PermissionError, match="not a private folder"):
        home.socket_folder()


def test_a_shallow_home_keeps_its_sockets_inside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(home, "_SOCKET_PATH_MAX", 4096)
    monkeypatch.setenv("PAWL_HOME", str(tmp_path / "home"))
    assert home.socket_folder() == tmp_path / "home" / "run"
