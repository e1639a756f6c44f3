"""A real browser against a real server with a lively instance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from governance.audit.checkpoints import init_signer
from tests.browser.screenshots import ARGUMENTS, CHROMIUM, NARROW, Visit, log_in
from tests.desk_scene import Scene, make_scene
from tests.governance.cast import PASSWORD, make_world
from tests.snapshot import remembered


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
    return remembered("lasting scene", tmp_path, lambda: make_scene(make_world()))


@dataclass
class Desk:
    """People at their browsers; `complaints` collects what the browser's console says of errors."""

    browser: Browser
    url: str
    open_pages: list[Page] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def as_person(self, name: str, *, narrow: bool = False) -> Page:
        """A page of this person, logged in."""
        viewport = NARROW if narrow else {"width": 1280, "height": 900}
        page = self.browser.new_context(viewport=viewport).new_page()
        page.set_default_timeout(15_000)
        page.on("console", self._listen)
        self.open_pages.append(page)
        log_in(page, Visit(self.url, name, PASSWORD))
        return page

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)


@pytest.fixture
def desk(browser: Browser, live_server: LiveServer) -> Iterator[Desk]:
    opened = Desk(browser, live_server.url)
    yield opened
    for page in opened.open_pages:
        page.context.close()
