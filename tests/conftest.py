"""Shared by all tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from deploy.home import REPO

_DATABASE_FIXTURES = frozenset({"db", "transactional_db", "django_db_reset_sequences", "live_server"})

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

Manage = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session", autouse=True)
def _flushable_append_only_tables() -> None:
    """Let transactional tests empty the tables that refuse it otherwise."""
    from tests.append_only import let_tests_flush  # needs Django's settings, which are there by now

    let_tests_flush()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that touch the database, so that they can be run again on PostgreSQL."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if item.get_closest_marker("one_database"):
            continue
        if item.get_closest_marker("django_db") or fixtures & _DATABASE_FIXTURES:
            item.add_marker(pytest.mark.database)


@pytest.fixture
def pawl_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh data home for one test, used by this process and by the commands that it starts."""
    monkeypatch.setenv("PAWL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def service_env(pawl_home: Path) -> dict[str, str]:
    """The environment of a real service process with a data home of its own (SQLite, private queue)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PAWL_TEST")}
    kept.pop("DATABASE_URL", None)
    return {
        **kept,
        "PAWL_HOME": str(pawl_home),
        "PAWL_BOOTSTRAP": "0",
        "DJANGO_SETTINGS_MODULE": "deploy.settings",
        "PYTHONPATH": str(REPO),
    }


@pytest.fixture
def manage(service_env: dict[str, str]) -> Manage:
    """Call a command in a process of its own: `manage("doctor", "--json", timeout=60, REDIS_URL="...")`."""

    def call(*args: str, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(REPO / "manage.py"), *args],
            env={**service_env, **environment},
            cwd=REPO,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return call


def pytest_sessionfinish() -> None:
    """Keep what was measured now: a worker that takes more than ten seconds to end is killed before it would."""
    if "COVERAGE_PROCESS_START" in os.environ:
        from coverage import Coverage

        measuring = Coverage.current()
        if measuring is not None:
            measuring.save()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end which sandbox backends these tests ran on, and why not on the others."""
    from tests.loop.sandboxes import probes  # needs Django's path, which is there by now

    for name, probe in probes().items():
        state = "tested" if probe.ok else "NOT TESTED, it cannot run here"
        terminalreporter.write_line(f"sandbox {name}: {state}: {probe.detail}")
