"""A passkey in headless Chromium, whose virtual authenticator stands in for the device: add, sign in, step up."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import CDPSession, Page, expect

from governance.models import AuditEntry, Halt, Passkey
from tests.browser.conftest import Desk
from tests.desk_scene import Scene
from tests.governance.cast import PASSWORD, REASON

pytestmark = pytest.mark.browser
DEVICE = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


def with_device(page: Page) -> tuple[CDPSession, str]:
    """A device of this page's own: (its session, its id)."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    made = session.send("WebAuthn.addVirtualAuthenticator", {"options": DEVICE})
    return session, made["authenticatorId"]


def test_a_passkey_is_added_signs_in_and_confirms_a_stop(scene: Scene, desk: Desk) -> None:
    desk.url = desk.url.replace("127.0.0.1", "localhost")
    page = desk.as_person("operator")
    session, device = with_device(page)
    page.goto(f"{desk.url}/account/")
    panel = page.locator("section", has=page.get_by_role("heading", name="Passkeys"))
    panel.get_by_text("Add one").click()
    panel.get_by_label("Your password").fill(PASSWORD)
    panel.get_by_role("button", name="Go on").click()
    page.get_by_label("Name, such as").fill("Laptop")
    page.get_by_role("button", name="Make the passkey").click()
    expect(page.locator("ul.codes li")).to_have_count(10)
    assert Passkey.objects.get().name == "Laptop"

    page.get_by_role("button", name="Log out").click()
    page.fill("#id_username", "operator")
    page.fill("#id_password", PASSWORD)
    page.click("form.body button")
    expect(page.get_by_role("heading", name="Your second factor")).to_be_visible()
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", name="Inbox")).to_be_visible()

    page.goto(f"{desk.url}/stops/")
    form = page.locator("form", has=page.locator("input[name=scope][value='']"))
    form.get_by_text("Stop everything").click()
    form.get_by_label("Reason").fill(REASON)
    form.get_by_label("Your password").fill(PASSWORD)
    form.get_by_role("button", name="Use a passkey").click()
    expect(form.get_by_role("status")).to_have_text(re.compile("The passkey answered"))
    form.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator(".banner.success")).to_have_text("Everything is stopped; two people can resume it.")
    assert Halt.objects.count() == 1
    assert AuditEntry.objects.filter(action="factor.use", outcome="allowed").count() == 2
    assert desk.complaints == []

    session.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": False})
    form.get_by_text("Ask to resume").first.click()
    form.get_by_role("button", name="Use a passkey").click()
    expect(form.get_by_role("status")).to_have_text(re.compile("The passkey was not used"))
