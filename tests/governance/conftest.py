"""Fixtures of the governance tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from governance.audit.checkpoints import init_signer
from tests.governance.cast import World, make_world
from tests.snapshot import remembered


@pytest.fixture
def signer_home(settings: Settings, tmp_path: Path) -> Path:
    """A data home of this test's own, with a working signer."""
    settings.PAWL_HOME = tmp_path
    (tmp_path / "keys").mkdir()
    init_signer()
    return tmp_path


@pytest.fixture
def world(db: None, signer_home: Path) -> World:
    """An instance with its people, one task and a signer, on the test database."""
    return remembered("world", signer_home, make_world)


@pytest.fixture
def lasting_world(transactional_db: None, signer_home: Path) -> World:
    """The same, with transactions that really commit (for races between threads)."""
    return remembered("lasting world", signer_home, make_world)
