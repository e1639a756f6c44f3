"""Signing in, stepping up and signing in at the command line: one limit on failures, sessions that do not live on."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.contrib.auth import authenticate
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from governance.actions import change_password
from governance.actions.throttling import ACCOUNT_LIMIT, ADDRESS_LIMIT, WINDOW, TooManyAttempts
from governance.desk.signin import sign_in
from governance.errors import NotAllowed
from governance.models import Attempt, AuditEntry
from tests.governance.cast import PASSWORD, REASON, World, ready
from tests.governance.desk.factor_helpers import browser, log_in

pytestmark = pytest.mark.one_database

WAIT = "Too many attempts failed; wait 15 minutes and try again"


def fail(name: str, times: int = ACCOUNT_LIMIT) -> None:
    for _ in range(times):
        assert log_in(browser(), name, "wrong")[0] == 200


def pass_time(minutes: float) -> None:
    for attempt in Attempt.objects.all():
        Attempt.objects.filter(pk=attempt.pk).update(failed_at=attempt.failed_at - timedelta(minutes=minutes))


def test_after_five_failures_even_the_right_password_has_to_wait(world: World) -> None:
    fail("rita", ACCOUNT_LIMIT - 1)
    assert log_in(browser(), "rita")[0] == 302
    fail("rita")
    status, page = log_in(browser(), "rita")
    assert status == 200 and WAIT in page
    assert log_in(browser(), "RITA", "wrong")[1].count(WAIT) == 1
    assert log_in(browser(), "ravi")[0] == 302


def test_the_wait_grows_shorter_and_ends_by_itself_whatever_is_tried_meanwhile(world: World) -> None:
    fail("rita")
    pass_time(10)
    assert "wait 5 minutes" in log_in(browser(), "rita", "wrong")[1]
    pass_time(4.5)
    assert "wait 1 minute and" in log_in(browser(), "rita", "wrong")[1]
    pass_time(1)
    assert log_in(browser(), "rita")[0] == 302
    assert not Attempt.objects.exists()


@pytest.mark.parametrize("door", ["/login/", "/admin/login/"])
def test_every_door_obeys_the_same_count(world: World, door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fail("rita")
    assert WAIT in log_in(browser(), "rita", door=door)[1]
    monkeypatch.setenv("PAWL_PASSWORD", PASSWORD)
    with pytest.raises(TooManyAttempts, match="wait 15 minutes"):
        sign_in("rita")


def test_failures_at_the_command_line_count_at_the_desk(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAWL_PASSWORD", "wrong")
    for _ in range(ACCOUNT_LIMIT):
        with pytest.raises(Exception, match="do not fit together"):
            sign_in("rita")
    assert WAIT in log_in(browser(), "rita")[1]


def test_one_address_cannot_try_account_after_account(world: World) -> None:
    for number in range(ADDRESS_LIMIT):
        log_in(browser(), f"nobody{number}", "wrong")
    assert WAIT in log_in(browser(), "rita")[1]
    other = Client(headers={"host": "localhost"}, REMOTE_ADDR="192.0.2.7")
    assert log_in(other, "rita")[0] == 302


def test_a_name_that_does_not_exist_waits_like_one_that_does(world: World) -> None:
    fail("nobody")
    assert WAIT in log_in(browser(), "nobody", "wrong")[1]


def test_step_up_is_limited_and_says_so_on_the_page(world: World) -> None:
    proposal = ready(world)
    rita = browser()
    assert log_in(rita, "rita")[0] == 302
    form = {"act": "approve", "reason": REASON, "subject_digest": proposal.subject_digest}
    for _ in range(ACCOUNT_LIMIT):
        assert rita.post(f"/proposals/{proposal.ref}/act/", {**form, "password": "wrong"}).status_code == 403
    answer = rita.post(f"/proposals/{proposal.ref}/act/", {**form, "password": PASSWORD})
    assert answer.status_code == 403 and WAIT in answer.content.decode()
    assert not proposal.reviews.exists()
    assert AuditEntry.objects.filter(action="desk.step_up", outcome="denied").count() == ACCOUNT_LIMIT + 1


def test_failures_at_the_sign_in_page_do_not_keep_a_signed_in_person_from_stopping(world: World) -> None:
    operator = browser()
    log_in(operator, "operator")
    fail("operator")
    form = {"act": "stop", "scope": "", "reason": REASON, "password": PASSWORD}
    assert operator.post("/stops/act/", form).status_code == 302


def test_an_empty_name_or_password_is_no_attempt(world: World) -> None:
    assert authenticate(None, username="", password="x") is None
    assert "Give your user name and your password." in log_in(browser(), "", "")[1]
    assert not Attempt.objects.exists()


def test_guesses_made_at_the_same_time_cannot_all_slip_through(lasting_world: World) -> None:
    outcomes: list[str] = []
    start = threading.Barrier(12)

    def guess() -> None:
        try:
            start.wait(10)
            authenticate(None, username="rita", password="wrong")
            outcomes.append("looked at")
        except TooManyAttempts:
            outcomes.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=guess) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(outcomes) == 12
    assert outcomes.count("looked at") <= ACCOUNT_LIMIT


def test_signing_in_and_stepping_up_give_the_session_a_new_key(world: World) -> None:
    proposal = ready(world)
    client = browser()
    client.session.save()
    before = client.session.session_key
    log_in(client, "rita")
    signed_in = client.cookies["sessionid"].value
    form = {
        "act": "approve",
        "reason": REASON,
        "subject_digest": proposal.subject_digest,
        "password": PASSWORD,
    }
    assert client.post(f"/proposals/{proposal.ref}/act/", form).status_code == 302
    stepped_up = client.cookies["sessionid"].value
    assert len({before, signed_in, stepped_up}) == 3
    stolen = browser()
    stolen.cookies["sessionid"] = signed_in
    assert stolen.get("/").status_code == 302


def test_a_session_ends_after_its_time(world: World, settings: Settings) -> None:
    client = browser()
    log_in(client, "rita")
    cookie = client.cookies["sessionid"]
    assert int(cookie["max-age"]) == settings.SESSION_COOKIE_AGE == 8 * 3600
    session = client.session
    session.set_expiry(-1)
    session.save()
    assert client.get("/").status_code == 302


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(world: World) -> None:
    client = browser()
    client.get("/login/")
    log_in(client, "rita")
    for name in ("sessionid", "csrftoken"):
        cookie = client.cookies[name]
        assert cookie["httponly"] and cookie["samesite"] == "Lax"


def change(client: Client, old: str, new: str) -> tuple[int, str]:
    form = {"old_password": old, "new_password1": new, "new_password2": new}
    answer = client.post("/password/", form)
    return answer.status_code, answer.content.decode()


def test_another_password_ends_the_other_sessions_and_is_in_the_log(world: World) -> None:
    here, elsewhere = browser(), browser()
    for client in (here, elsewhere):
        log_in(client, "rita")
    before = here.cookies["sessionid"].value
    assert "Change your password" in here.get("/password/").content.decode()
    assert change(here, PASSWORD, "quite another pass phrase")[0] == 302
    assert here.cookies["sessionid"].value != before
    assert here.get("/").status_code == 200
    assert elsewhere.get("/").status_code == 302
    entry = AuditEntry.objects.latest("seq")
    assert (entry.action, entry.actor) == ("person.password", world.cast.rita.ref)
    assert log_in(browser(), "rita")[0] == 200


def test_the_old_password_is_asked_for_under_the_same_limit(world: World) -> None:
    rita = browser()
    log_in(rita, "rita")
    for _ in range(ACCOUNT_LIMIT):
        status, page = change(rita, "wrong", "quite another pass phrase")
        assert status == 400 and "The old password is not yours." in page
    assert WAIT in change(rita, PASSWORD, "quite another pass phrase")[1]
    assert "too short" in change(rita, PASSWORD, "short")[1]


def test_counted_failures_are_thrown_away_when_they_are_old(world: World) -> None:
    fail("rita", 2)
    Attempt.objects.update(failed_at=timezone.now() - WINDOW)
    fail("ravi", 1)
    assert set(Attempt.objects.values_list("key", flat=True)) == {"account:ravi", "address:127.0.0.1"}


def test_nobody_changes_the_password_of_somebody_else(world: World) -> None:
    with pytest.raises(NotAllowed, match="their own password only"):
        change_password(person=world.cast.ravi, password="another pass phrase", by=world.cast.act("rita"))
    assert log_in(browser(), "ravi")[0] == 302
