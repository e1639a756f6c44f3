"""Pictures of the desk's pages for the documentation and for looking at them: light, dark and 390 px wide.

    python -m tests.browser.screenshots --base-url http://127.0.0.1:8000 --user rita --password ... --out DIR

Follows links from the inbox, so it works on any instance; pages that the instance has no data for are left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
COVER = "desk.png"  # the picture for the documentation: the first screenful of a proposal
WIDE: ViewportSize = {"width": 1280, "height": 860}
NARROW: ViewportSize = {"width": 390, "height": 844}


@dataclass(frozen=True, slots=True)
class Visit:
    """Where to look and as whom."""

    base_url: str
    user: str
    password: str


def log_in(page: Page, visit: Visit) -> None:
    """Log in at the desk. Raises RuntimeError when the account is refused."""
    page.goto(f"{visit.base_url}/login/")
    page.fill("#id_username", visit.user)
    page.fill("#id_password", visit.password)
    page.click("form.body button")
    if page.url.rstrip("/").endswith("/login"):
        raise RuntimeError(f"The desk refused the account {visit.user!r}; check its password.")


def pages(page: Page, base_url: str) -> Iterator[tuple[str, str]]:
    """(name, address) of each kind of page that this instance has something for."""
    yield "inbox", f"{base_url}/"
    found = {
        "proposal": _first_link(page, f"{base_url}/", "a.title[href^='/proposals/']"),
        "campaign": _first_link(page, f"{base_url}/campaigns/", "a.title[href^='/campaigns/']"),
        "task": _first_link(page, f"{base_url}/tasks/", "a.title[href^='/tasks/']"),
        "entry": _first_link(page, f"{base_url}/audit/", "td.num a[href^='/audit/']"),
    }
    if found["proposal"]:
        yield "proposal", base_url + found["proposal"]
        yield "proposal-split", f"{base_url}{found['proposal']}?view=split"
        evidence = _first_link(page, base_url + found["proposal"], "a[href*='/evidence/']")
        if evidence:
            yield "evidence", base_url + evidence
    yield "campaigns", f"{base_url}/campaigns/"
    if found["campaign"]:
        yield "campaign", base_url + found["campaign"]
        rollout = _last_link(page, base_url + found["campaign"], "a[href^='/rollouts/']")
        if rollout:
            yield "rollout", base_url + rollout
    yield "tasks", f"{base_url}/tasks/"
    if found["task"]:
        yield "task", base_url + found["task"]
        derived = _first_link(page, base_url + found["task"], "ul.tree a")
        if derived:
            yield "task-derived", f"{base_url}{found['task']}{derived}"
    for name in ("people", "stops", "account", "password"):
        yield name, f"{base_url}/{name}/"
    if _first_link(page, f"{base_url}/", "nav a[href='/reviewers/']"):
        yield "reviewers", f"{base_url}/reviewers/"
    yield "audit", f"{base_url}/audit/"
    if found["entry"]:
        yield "audit-entry", base_url + found["entry"]


def shoot(browser: Browser, visit: Visit, out: Path) -> list[Path]:
    """Take every page in every look; return the pictures' paths."""
    taken: list[Path] = []
    for look, scheme, size in (("light", "light", WIDE), ("dark", "dark", WIDE), ("390", "light", NARROW)):
        context = browser.new_context(viewport=size, color_scheme="dark" if scheme == "dark" else "light")
        page = context.new_page()
        page.goto(f"{visit.base_url}/login/")
        taken.append(_save(page, out / f"login-{look}.png"))
        log_in(page, visit)
        for name, address in list(pages(page, visit.base_url)):
            page.goto(address)
            page.wait_for_load_state("networkidle")
            if name == "proposal" and look == "light":
                page.screenshot(path=out / COVER)
                taken.append(out / COVER)
            taken.append(_save(page, out / f"{name}-{look}.png"))
        context.close()
    return taken


def _save(page: Page, path: Path) -> Path:
    page.screenshot(path=path, full_page=True)
    return path


def _first_link(page: Page, address: str, selector: str) -> str | None:
    links = _links(page, address, selector)
    return links[0] if links else None


def _last_link(page: Page, address: str, selector: str) -> str | None:
    links = _links(page, address, selector)
    return links[-1] if links else None


def _links(page: Page, address: str, selector: str) -> list[str]:
    answer = page.goto(address)
    if answer is None or not answer.ok:
        return []
    hrefs = [link.get_attribute("href") for link in page.query_selector_all(selector)]
    return [href for href in hrefs if href]


def main(arguments: list[str]) -> int:
    """Parse the arguments, take the pictures, say where they are."""
    parser = argparse.ArgumentParser(description="Take pictures of every page of the desk.")
    for name in ("--base-url", "--user", "--password"):
        parser.add_argument(name, required=True)
    parser.add_argument("--out", required=True, type=Path)
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        visit = Visit(asked.base_url.rstrip("/"), asked.user, asked.password)
        for path in shoot(browser, visit, asked.out):
            print(path)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
