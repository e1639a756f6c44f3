"""The second factor: an authenticator's codes and recovery codes at sign-in, step-up and commands."""

from __future__ import annotations

import re

import pyotp
import pytest
from django.db import connection
from django.test import Client
from pytest_django.fixtures import Settings

from governance.actions import (
    add_authenticator,
    remove_authenticator,
    renew_recovery_codes,
    use_code,
)
from governance.actions.throttling import ACCOUNT_LIMIT
from governance.assurance.verify import live_differences
from governance.desk.account import HALF_WAY, HALF_WAY_S
from governance.desk.signin import sign_in
from governance.errors import BadInput, NotAllowed
from governance.factors import new_secret
from governance.models import Attempt, AuditEntry, Authenticator, Halt, Person, RecoveryCode
from tests.governance.cast import PASSWORD, REASON, World
from tests.governance.desk.factor_helpers import browser, code_of, give_authenticator, let_time_pass, log_in

pytestmark = pytest.mark.one_database
WAIT = "Too many attempts failed; wait 15 minutes"
STOP = {"act": "stop", "scope": "", "reason": REASON, "password": PASSWORD}


@pytest.fixture
def rita(world: World) -> Person:
    return world.cast.rita


def signed_in(person: Person) -> Client:
    client = browser()
    log_in(client, str(person))
    if Authenticator.objects.filter(person=person).exists():
        let_time_pass(person)
        assert client.post("/login/factor/", {"code": code_of(person)}).status_code == 302
        let_time_pass(person)
    return client


def newest() -> tuple[str, str, dict[str, object]]:
    row = AuditEntry.objects.latest("seq")
    detail = row.entry()["detail"]
    return row.action, row.outcome, {name: detail[name] for name in detail if name != "rows"}


def test_an_authenticator_is_added_on_the_account_page_and_its_secret_is_nowhere_else(rita: Person) -> None:
    client = signed_in(rita)
    assert "Authenticator app" in client.get("/account/").content.decode()
    assert client.post("/account/authenticator/new/", {"password": "wrong"}).status_code == 403
    page = client.post("/account/authenticator/new/", {"password": PASSWORD})
    text = page.content.decode()
    secret = re.search(r'<code class="secret">([A-Z2-7]{32})</code>', text)
    assert secret and "no-store" in page.headers["cache-control"]
    assert '<svg viewBox="' in text and not re.search(r"<svg[^>]*(style|onload)=|<script(?! src)", text)
    refused = client.post("/account/authenticator/confirm/", {"code": "000 000"})
    assert refused.status_code == 400 and secret[1] not in refused.content.decode()
    assert not Authenticator.objects.exists()
    code = pyotp.TOTP(secret[1]).now()
    done = client.post("/account/authenticator/confirm/", {"code": f"{code[:3]} {code[3:]}"})
    codes = re.findall(r"<li><code>([a-z2-9-]{19})</code>", done.content.decode())
    assert len(set(codes)) == 10
    assert newest() == ("factor.add", "allowed", {"kind": "authenticator", "recovery_codes": 10})
    account = client.get("/account/").content.decode()
    assert "10 left" in account and not any(code in account for code in codes)
    kept = [str(row) for table in (Authenticator, RecoveryCode) for row in table.objects.values()]
    logged = list(AuditEntry.objects.values_list("body", flat=True))
    for word in (secret[1], code, *codes):
        assert not any(word in text for text in [*kept, *logged])
    assert client.post("/account/authenticator/confirm/", {"code": code}).status_code == 400
    assert live_differences() == []


def test_signing_in_takes_both_factors_and_a_code_counts_once(rita: Person) -> None:
    give_authenticator(rita)
    client = browser()
    assert client.get("/login/factor/").headers["location"] == "/login/"
    assert log_in(client, "rita")[0] == 302
    assert client.get("/").status_code == 302
    assert "Your second factor" in client.get("/login/factor/").content.decode()
    wrong = client.post("/login/factor/", {"code": "123"})
    assert wrong.status_code == 400 and "does not fit" in wrong.content.decode()
    assert "Type a code" in client.post("/login/factor/", {"code": " "}).content.decode()
    code = code_of(rita)
    assert client.post("/login/factor/", {"code": code}).headers["location"] == "/"
    assert client.get("/").status_code == 200
    assert newest() == ("factor.use", "allowed", {"kind": "authenticator"})
    again = browser()
    log_in(again, "rita")
    refused = again.post("/login/factor/", {"code": code})
    assert "used already" in refused.content.decode() and again.get("/").status_code == 302
    assert client.get("/login/factor/").status_code == 302


def test_where_one_wanted_to_go_survives_the_second_step(rita: Person) -> None:
    give_authenticator(rita)
    client = browser()
    client.post("/login/", {"username": "rita", "password": PASSWORD, "next": "/tasks/"})
    assert client.post("/login/factor/", {"code": code_of(rita)}).headers["location"] == "/tasks/"


@pytest.mark.parametrize("change", ["time", "password", "closed"])
def test_the_first_step_does_not_count_for_long(rita: Person, change: str) -> None:
    give_authenticator(rita)
    client = browser()
    log_in(client, "rita")
    session = client.session
    if change == "time":
        session[HALF_WAY] |= {"at": session[HALF_WAY]["at"] - HALF_WAY_S}
        session.save()
    elif change == "password":
        rita.user.set_password("quite another pass phrase")
        rita.user.save()
    else:
        rita.user.is_active = False
        rita.user.save()
    answer = client.post("/login/factor/", {"code": code_of(rita)})
    assert answer.headers["location"] == "/login/" and client.get("/").status_code == 302


def test_the_admin_is_no_way_around_the_second_factor(rita: Person) -> None:
    give_authenticator(rita)
    client = browser()
    status, _ = log_in(client, "rita", door="/admin/login/?next=/admin/")
    assert status == 302 and client.get("/admin/").status_code == 302
    assert client.post("/login/factor/", {"code": code_of(rita)}).headers["location"] == "/admin/"
    assert client.get("/admin/").status_code == 200


def test_a_clock_may_be_off_by_one_step_and_no_older_code_follows_a_newer_one(rita: Person) -> None:
    give_authenticator(rita)
    by = rita.actor("session")
    for steps in (-3, 3):
        with pytest.raises(NotAllowed, match="does not fit"):
            use_code(person=rita, code=code_of(rita, steps), by=by)
    use_code(person=rita, code=code_of(rita), by=by)
    with pytest.raises(NotAllowed, match="used already"):
        use_code(person=rita, code=code_of(rita, -1), by=by)
    use_code(person=rita, code=code_of(rita, 1), by=by)


def test_step_up_asks_for_it_and_says_what_is_missing(world: World) -> None:
    person = world.cast.operator
    give_authenticator(person)
    client = signed_in(person)
    assert 'name="code"' in client.get("/stops/").content.decode()
    for code, sentence in (("", "Type a code"), ("1234567", "does not fit"), ("abcd-efgh", "none of your")):
        answer = client.post("/stops/act/", {**STOP, "code": code})
        assert answer.status_code == 403 and sentence in answer.content.decode()
    assert not Halt.objects.exists()
    assert AuditEntry.objects.filter(action="desk.step_up", outcome="denied").count() == 3
    assert client.post("/stops/act/", {**STOP, "code": code_of(person)}).status_code == 302
    assert Halt.objects.exists()
    assert 'name="code"' not in signed_in(world.cast.rita).get("/stops/").content.decode()


def test_a_recovery_code_counts_once_however_it_is_typed(rita: Person) -> None:
    codes = give_authenticator(rita)
    for typed in (codes[0].upper(), codes[1].replace("-", " ")):
        client = browser()
        log_in(client, "rita")
        assert client.post("/login/factor/", {"code": typed}).headers["location"] == "/"
    assert newest() == ("factor.use", "allowed", {"kind": "recovery code", "left": 8})
    with pytest.raises(NotAllowed, match="or it was used already"):
        use_code(person=rita, code=codes[0], by=rita.actor("session"))
    fresh = renew_recovery_codes(person=rita, by=rita.actor("session"))
    assert len(fresh) == 10 and RecoveryCode.objects.count() == 10
    with pytest.raises(NotAllowed):
        use_code(person=rita, code=codes[2], by=rita.actor("session"))


def test_failures_count_like_those_of_the_password_and_a_right_password_forgives_none(rita: Person) -> None:
    give_authenticator(rita)
    for _ in range(ACCOUNT_LIMIT):
        client = browser()
        assert log_in(client, "rita")[0] == 302
        assert client.post("/login/factor/", {"code": "000"}).status_code == 400
    log_in(client, "rita")
    assert WAIT in client.post("/login/factor/", {"code": code_of(rita)}).content.decode()
    assert Attempt.objects.filter(key="factor-account:rita").count() == ACCOUNT_LIMIT


def test_commands_ask_for_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    person = world.cast.operator
    codes = give_authenticator(person)
    monkeypatch.setenv("PAWL_PASSWORD", PASSWORD)
    with pytest.raises(BadInput, match="set PAWL_CODE"):
        sign_in("operator")
    for code in ("999", codes[0]):
        monkeypatch.setenv("PAWL_CODE", code)
        if code == "999":
            with pytest.raises(NotAllowed, match="does not fit"):
                sign_in("operator")
    assert sign_in("operator").ref == person.ref
    with pytest.raises(NotAllowed, match="used already"):
        sign_in("operator")


def test_factors_are_removed_with_a_last_code_and_their_recovery_codes_with_them(rita: Person) -> None:
    give_authenticator(rita)
    client = signed_in(rita)
    form = {"password": PASSWORD, "act": "remove"}
    assert client.post("/account/authenticator/remove/", form).status_code == 403
    assert client.post("/account/codes/", {**form, "code": code_of(rita)}).status_code == 200
    let_time_pass(rita)
    assert client.post("/account/authenticator/remove/", {**form, "code": code_of(rita)}).status_code == 302
    assert newest() == ("factor.remove", "allowed", {"kind": "authenticator"})
    assert not Authenticator.objects.exists() and not RecoveryCode.objects.exists()
    assert client.post("/account/authenticator/remove/", form).status_code == 400
    assert client.post("/account/codes/", form).status_code == 400
    assert log_in(browser(), "rita")[0] == 302


def test_nobody_touches_the_factors_of_somebody_else(world: World) -> None:
    rita, by = world.cast.rita, world.cast.act("ravi")
    codes = give_authenticator(rita)
    secret = new_secret()
    for act in (
        lambda: add_authenticator(person=rita, secret=secret, code="1", by=by),
        lambda: remove_authenticator(person=rita, by=by),
        lambda: renew_recovery_codes(person=rita, by=by),
        lambda: use_code(person=rita, code=codes[0], by=by),
    ):
        with pytest.raises(NotAllowed, match="their own second factors only"):
            act()
    with pytest.raises(BadInput, match="already"):
        add_authenticator(person=rita, secret=secret, code="1", by=rita.actor("session"))


def test_nobody_proves_themselves_with_the_codes_of_somebody_else(world: World) -> None:
    rita, ravi = world.cast.rita, world.cast.ravi
    give_authenticator(rita)
    theirs = give_authenticator(ravi)
    with pytest.raises(NotAllowed, match="none of your recovery codes"):
        use_code(person=rita, code=theirs[0], by=rita.actor("session"))
    use_code(person=rita, code=code_of(rita), by=rita.actor("session"))
    use_code(person=ravi, code=code_of(ravi), by=ravi.actor("session"))


def test_a_secret_of_another_key_is_said_to_be_unreadable_and_a_fallback_key_reads_it(
    rita: Person, settings: Settings
) -> None:
    codes = give_authenticator(rita)
    code, old = code_of(rita), settings.SECRET_KEY
    settings.SECRET_KEY = "another key, long enough for what it is"
    with pytest.raises(NotAllowed, match="SECRET_KEY changed; use a recovery code"):
        use_code(person=rita, code=code, by=rita.actor("session"))
    use_code(person=rita, code=codes[0], by=rita.actor("session"))
    settings.SECRET_KEY_FALLBACKS = [old]
    use_code(person=rita, code=code, by=rita.actor("session"))


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE governance_authenticator SET secret = 'mine'",
        "UPDATE governance_authenticator SET last_step = 0",
        "DELETE FROM governance_authenticator",
        "UPDATE governance_recoverycode SET used_at = NULL WHERE used_at IS NOT NULL",
    ],
)
def test_a_factor_changed_behind_the_log_is_found(rita: Person, sql: str) -> None:
    codes = give_authenticator(rita)
    use_code(person=rita, code=code_of(rita), by=rita.actor("session"))
    use_code(person=rita, code=codes[0], by=rita.actor("session"))
    assert live_differences() == []
    with connection.cursor() as cursor:
        cursor.execute(sql)
    assert any("governance_authenticator" in text or "recoverycode" in text for text in live_differences())
