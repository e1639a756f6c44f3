"""The desk in headless Chromium: from review to live and back, live progress, narrow screens, the strict policy."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from governance.models import AuditEntry, Checkpoint, Pointer
from loop.models import Generation
from tests.browser.conftest import Desk
from tests.browser.screenshots import pages
from tests.desk_scene import Scene
from tests.governance.cast import PASSWORD

pytestmark = pytest.mark.browser


def decide(page: Page, button: str, reason: str) -> None:
    form = page.locator("form", has=page.get_by_role("button", name=button))
    form.get_by_label("Reason").fill(reason)
    form.get_by_label("Your password").fill(PASSWORD)
    form.get_by_role("button", name=button).click()


def live(scene: Scene) -> str:
    return Pointer.objects.get(key=f"release:{scene.world.task.slug}").digest


def test_a_proposal_is_approved_promoted_and_reverted(scene: Scene, desk: Desk) -> None:
    before = live(scene)
    reviewer, operator = desk.as_person("rita"), desk.as_person("operator")

    reviewer.get_by_role("link", name=scene.waiting.title).click()
    expect(reviewer.get_by_role("button", name="Promote")).to_be_disabled()
    assert reviewer.evaluate("document.activeElement.tagName") == "BODY"
    decide(reviewer, "Approve", "The interval is well above the smallest gain.")
    expect(reviewer.locator(".banner.success")).to_have_text("Your approval is recorded.")

    operator.reload()
    operator.get_by_role("link", name=scene.waiting.title).click()
    decide(operator, "Promote", "Approved by two reviewers, quiet hour.")
    expect(operator.locator(".banner.success")).to_have_text("Promoted: it is live now.")
    assert live(scene) == scene.waiting.target

    decide(operator, "Revert to", "Answers to a partner became slower.")
    expect(operator.locator(".banner.success")).to_have_text("Reverted: the earlier release is live again.")
    assert live(scene) == before

    expected = ["evidence.read", "proposal.review", "pointer.move", "pointer.move"]
    people = {scene.world.cast.rita.ref, scene.world.cast.operator.ref}
    found = AuditEntry.objects.filter(actor__in=people, action__in=expected).order_by("seq")
    assert list(found.values_list("action", flat=True))[-2:] == ["pointer.move", "evidence.read"]
    assert [entry.entry()["after"] for entry in found if entry.action == "pointer.move"][-2:] == [
        scene.waiting.target,
        before,
    ]
    newest = Checkpoint.objects.order_by("-size").first()
    assert newest is not None and newest.size > found.filter(action="pointer.move").last().seq  # type: ignore[union-attr]
    assert desk.complaints == []


def test_progress_moves_without_a_reload(scene: Scene, desk: Desk) -> None:
    page = desk.as_person("outsider")
    expect(page.get_by_text("148 of 250 items")).to_be_visible()
    Generation.objects.filter(number=6).update(progress={"text": "rolling out: 249 of 250 items"})
    expect(page.get_by_text("249 of 250 items")).to_be_visible()
    assert desk.complaints == []


def test_a_file_is_marked_as_viewed_without_a_reload_and_by_a_key(scene: Scene, desk: Desk) -> None:
    page = desk.as_person("rita")
    page.get_by_role("link", name=scene.waiting.title).click()
    page.evaluate("window.stays = true")
    page.get_by_role("button", name="Mark as viewed").first.click()
    expect(page.locator("form.seen button[aria-pressed=true]")).to_have_count(1)
    page.keyboard.press("Tab")
    page.locator("details.file > summary").nth(1).focus()
    page.keyboard.press("v")
    expect(page.locator("form.seen button[aria-pressed=true]")).to_have_count(2)
    assert page.evaluate("window.stays") is True
    page.reload()
    expect(page.get_by_text("3, 2 viewed")).to_be_visible()
    assert desk.complaints == []


def test_no_page_is_wider_than_a_narrow_screen(scene: Scene, desk: Desk) -> None:
    page = desk.as_person("operator", narrow=True)
    seen = []
    for name, address in list(pages(page, desk.url)):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
        seen.append(name)
    assert {"inbox", "proposal", "campaign", "rollout", "task", "audit", "audit-entry"} <= set(seen)
    assert desk.complaints == []
