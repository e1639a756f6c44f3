"""Fixtures of the governance tests."""

from __future__ import annotations

import pytest

from governance.audit.checkpoints import init_signer
from tests.governance.cast import World, make_world


@pytest.fixture
def world(db: None, settings: object, tmp_path: object) -> World:
    """An instance with its people and one task, on the test database, with a working signer."""
    return make_world()
