"""A real browser against a real server with a lively instance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from pytest_django.fixtures import Settings

from governance.audit.checkpoints import init_signer
from tests.browser.screenshots import ARGUMENTS, CHROMIUM
from tests.desk_scene import Scene, make_scene
from tests.governance.cast import make_world


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # the browser's driver keeps an event loop in this thread; the tests' own queries are meant all the same
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def scene(browser: Browser, transactional_db: None, settings: Settings, tmp_path: Path) -> Scene:
    settings.PAWL_HOME = tmp_path
    (tmp_path / "keys").mkdir()
    init_signer()
    return make_scene(make_world())
