"""The environment as settings read it."""

from __future__ import annotations

import os
import tempfile

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from deploy import env, home


def test_the_tests_never_touch_the_developers_data() -> None:
    assert settings.SETTINGS_MODULE == "tests.settings"
    assert settings.PAWL_HOME.is_relative_to(tempfile.gettempdir())
    assert settings.PAWL_HOME != home.REPO / "var"
    assert not [name for name in os.environ if name.endswith("_API_KEY")]


def test_a_flag_that_is_neither_yes_nor_no_says_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAWL_DEBUG", "maybe")
    with pytest.raises(ImproperlyConfigured, match="set it to 1 or 0"):
        env.flag("PAWL_DEBUG")


@pytest.mark.parametrize(("raw", "expected"), [("1", True), ("Yes", True), ("off", False), ("", False)])
def test_a_flag_reads_the_usual_words(monkeypatch: pytest.MonkeyPatch, raw: str, expected: bool) -> None:
    monkeypatch.setenv("PAWL_DEBUG", raw)
    assert env.flag("PAWL_DEBUG", default=not expected) is expected


def test_a_number_below_its_floor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMIT", "-1")
    with pytest.raises(ImproperlyConfigured, match="at least 0"):
        env.integer("LIMIT", 5)


def test_a_postgresql_url_becomes_django_settings() -> None:
    found = env.postgresql("postgresql://ann:p%40ss@db.example:5433/pawl?sslmode=require")
    assert found["USER"] == "ann"
    assert found["PASSWORD"] == "p@ss"
    assert (found["HOST"], found["PORT"], found["NAME"]) == ("db.example", "5433", "pawl")
    assert found["OPTIONS"] == {"sslmode": "require"}


def test_a_socket_folder_can_be_the_host() -> None:
    found = env.postgresql("postgresql://pawl@/postgres?host=/run/pg")
    assert (found["HOST"], found["OPTIONS"]) == ("/run/pg", {})


@pytest.mark.parametrize("url", ["mysql://a/b", "postgresql://host/", "nonsense"])
def test_another_database_is_refused_with_the_remedy(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL"):
        env.postgresql(url)


@pytest.mark.django_db
def test_sqlite_runs_with_a_write_ahead_log_and_early_locks() -> None:
    if os.environ.get("PAWL_TEST_DATABASE") == "postgres":
        assert connection.vendor == "postgresql"
        return
    with connection.cursor() as cursor:
        pragmas = {}
        for name in ("journal_mode", "recursive_triggers", "foreign_keys"):
            pragmas[name] = cursor.execute(f"PRAGMA {name}").fetchone()[0]
    assert pragmas == {"journal_mode": "wal", "recursive_triggers": 1, "foreign_keys": 1}
    assert connection.settings_dict["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
