"""Passkeys: what is accepted, once, and every way in which an answer does not hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from django.db import connection
from django.test import Client
from pytest_django.fixtures import Settings
from webauthn import base64url_to_bytes

from governance.actions import add_passkey, remove_passkey, use_passkey
from governance.actions.throttling import ACCOUNT_LIMIT
from governance.assurance.verify import live_differences
from governance.desk.questions import ASKED, ASKED_S
from governance.errors import BadInput, NotAllowed
from governance.models import AuditEntry, Halt, Passkey, Person, RecoveryCode
from governance.passkeys import Question, Site, new_question
from tests.governance.cast import PASSWORD, REASON, World
from tests.governance.desk.factor_helpers import browser, log_in
from tests.governance.desk.software_passkey import PRESENT, SoftwarePasskey

pytestmark = pytest.mark.one_database

SITE = Site("localhost", "http://localhost")
STOP = {"act": "stop", "scope": "", "reason": REASON, "password": PASSWORD}


@pytest.fixture
def rita(world: World) -> Person:
    return world.cast.rita


def add(person: Person, device: SoftwarePasskey, name: str = "Laptop") -> list[str]:
    question = new_question(SITE)
    answer = device.create(question)
    return add_passkey(person=person, name=name, answer=answer, question=question, by=person.actor("session"))


def use(person: Person, device: SoftwarePasskey, question: Question | None = None) -> None:
    asked = question or new_question(SITE)
    use_passkey(person=person, answer=device.use(asked), question=asked, by=person.actor("session"))


def ask(client: Client) -> Question:
    answer = client.post("/account/passkeys/question/")
    assert answer.status_code == 200
    return Question(base64url_to_bytes(answer.json()["challenge"]), SITE)


def test_a_passkey_is_added_and_used_and_its_uses_are_in_the_log(rita: Person) -> None:
    device = SoftwarePasskey()
    assert len(add(rita, device)) == 10
    use(rita, device)
    use(rita, device)
    kinds = [row.entry()["detail"]["kind"] for row in AuditEntry.objects.filter(action="factor.use")]
    assert kinds == ["passkey", "passkey"]
    assert Passkey.objects.get().sign_count == 3
    assert live_differences() == []


def test_a_device_that_does_not_count_is_accepted_too(rita: Person) -> None:
    device = SoftwarePasskey(count=0)
    add(rita, device)
    use(rita, device)
    use(rita, device)


Change = Callable[[SoftwarePasskey, Question], tuple[str, Question]]


def _elsewhere(device: SoftwarePasskey, asked: Question) -> tuple[str, Question]:
    return device.use(replace(asked, site=Site("localhost", "http://localhost.evil.example"))), asked


def _another_port(device: SoftwarePasskey, asked: Question) -> tuple[str, Question]:
    return device.use(replace(asked, site=Site("localhost", "http://localhost:8001"))), asked


def _another_host(device: SoftwarePasskey, asked: Question) -> tuple[str, Question]:
    return device.use(replace(asked, site=Site("evil.example", "http://localhost"))), asked


def _another_question(device: SoftwarePasskey, asked: Question) -> tuple[str, Question]:
    return device.use(new_question(SITE)), asked


def _not_verified(device: SoftwarePasskey, asked: Question) -> tuple[str, Question]:
    device.flags = PRESENT
    return device.use(asked), asked


def _another_key(device: SoftwarePasskey, asked: Question) -> tuple[str, Question]:
    return SoftwarePasskey(credential=device.credential, count=5).use(asked), asked


def _counter_back(device: SoftwarePasskey, asked: Question) -> tuple[str, Question]:
    device.count -= 2
    return device.use(asked), asked


def _counter_gone(device: SoftwarePasskey, asked: Question) -> tuple[str, Question]:
    device.count = 0
    return device.use(asked), asked


def _creation(device: SoftwarePasskey, asked: Question) -> tuple[str, Question]:
    made = json.loads(device.create(asked))
    used = json.loads(device.use(asked))
    used["response"]["clientDataJSON"] = made["response"]["clientDataJSON"]
    return json.dumps(used), asked


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_elsewhere, "origin"),
        (_another_port, "origin"),
        (_another_host, "RP ID"),
        (_another_question, "challenge"),
        (_not_verified, "user was not verified"),
        (_another_key, "signature"),
        (_counter_back, "counter did not grow"),
        (_counter_gone, "counter did not grow"),
        (_creation, "type"),
        (lambda device, asked: ("{}", asked), "not accepted"),
        (lambda device, asked: ("[" * 30_000, asked), "not accepted"),
        (lambda device, asked: (SoftwarePasskey().use(asked), asked), "none of yours"),
    ],
)
def test_an_answer_that_does_not_hold_is_refused_and_in_the_log(
    rita: Person, change: Change, sentence: str
) -> None:
    device = SoftwarePasskey()
    add(rita, device)
    use(rita, device)
    answer, asked = change(device, new_question(SITE))
    with pytest.raises(NotAllowed, match=sentence):
        use_passkey(person=rita, answer=answer, question=asked, by=rita.actor("session"))
    newest = AuditEntry.objects.latest("seq")
    assert (newest.action, newest.outcome) == ("factor.use", "denied")
    assert Passkey.objects.get().sign_count == 2


@pytest.mark.parametrize("count", [0, 1])
def test_one_answer_counts_once(rita: Person, count: int) -> None:
    device, asked = SoftwarePasskey(count=count), new_question(SITE)
    add(rita, device)
    answer, by = device.use(asked), rita.actor("session")
    use_passkey(person=rita, answer=answer, question=asked, by=by)
    with pytest.raises(NotAllowed, match="used already"):
        use_passkey(person=rita, answer=answer, question=asked, by=by)


def test_what_is_no_new_passkey_is_refused(world: World) -> None:
    rita, device, asked = world.cast.rita, SoftwarePasskey(), new_question(SITE)
    add(rita, device)
    with pytest.raises(BadInput, match="known already"):
        add(world.cast.ravi, device)
    with pytest.raises(BadInput, match="Give the passkey a name"):
        add(rita, SoftwarePasskey(), name="  ")
    for answer in (
        SoftwarePasskey(flags=PRESENT).create(asked),
        SoftwarePasskey().create(new_question(SITE)),
        SoftwarePasskey().create(replace(asked, site=Site("localhost", "https://localhost"))),
        "null",
    ):
        with pytest.raises(NotAllowed, match="not accepted"):
            add_passkey(person=rita, name="x", answer=answer, question=asked, by=rita.actor("session"))
    assert Passkey.objects.count() == 1


def test_signing_in_and_stepping_up_take_a_passkey_and_each_question_is_asked_once(world: World) -> None:
    person, device = world.cast.operator, SoftwarePasskey()
    add(person, device)
    client = browser()
    assert client.post("/account/passkeys/question/").status_code == 403
    log_in(client, "operator")
    page = client.get("/login/factor/").content.decode()
    assert "data-passkey-use" in page and "a recovery code" in page and "authenticator" not in page
    answer = device.use(ask(client))
    assert client.post("/login/factor/", {"passkey": answer}).headers["location"] == "/"
    again = client.post("/stops/act/", {**STOP, "passkey": answer})
    assert again.status_code == 403 and "answered already" in again.content.decode()
    stale = device.use(ask(client))
    ask(client)
    assert client.post("/stops/act/", {**STOP, "passkey": stale}).status_code == 403
    assert not Halt.objects.exists()
    assert client.post("/stops/act/", {**STOP, "passkey": device.use(ask(client))}).status_code == 302
    assert Halt.objects.exists()


def test_a_question_is_answered_within_minutes_and_failures_are_counted(rita: Person) -> None:
    device = SoftwarePasskey()
    add(rita, device)
    client = browser()
    log_in(client, "rita")
    answer = device.use(ask(client))
    session = client.session
    session[ASKED] |= {"at": session[ASKED]["at"] - ASKED_S - 1}
    session.save()
    assert "too long ago" in client.post("/login/factor/", {"passkey": answer}).content.decode()
    for _ in range(ACCOUNT_LIMIT - 1):
        client.post("/login/factor/", {"passkey": "{}"})
    answer = device.use(ask(client))
    assert "Too many attempts failed" in client.post("/login/factor/", {"passkey": answer}).content.decode()


def test_the_account_page_adds_and_removes_passkeys(rita: Person) -> None:
    client, device = browser(), SoftwarePasskey()
    log_in(client, "rita")
    assert client.post("/account/passkeys/new/", {"password": "wrong"}).status_code == 403
    page = client.post("/account/passkeys/new/", {"password": PASSWORD})
    assert "data-passkey-create" in page.content.decode()
    asked = Question(bytes.fromhex(client.session[ASKED]["challenge"]), SITE)
    refused = client.post("/account/passkeys/confirm/", {"passkey": "{}", "name": "Key"})
    assert refused.status_code == 403 and client.session[ASKED]["challenge"] != asked.challenge.hex()
    asked = Question(bytes.fromhex(client.session[ASKED]["challenge"]), SITE)
    done = client.post("/account/passkeys/confirm/", {"passkey": device.create(asked), "name": "<b>Key</b>"})
    assert done.content.decode().count("<li><code>") == 10
    assert "&lt;b&gt;Key&lt;/b&gt;" in client.get("/account/").content.decode()
    form = {"password": PASSWORD, "credential": Passkey.objects.get().credential_id}
    assert client.post("/account/passkeys/remove/", form).status_code == 403
    form["passkey"] = device.use(ask(client))
    assert client.post("/account/passkeys/remove/", form).status_code == 302
    assert not Passkey.objects.exists() and not RecoveryCode.objects.exists()
    assert client.post("/account/passkeys/remove/", form).status_code == 400


def test_a_host_that_only_a_wildcard_lets_in_gets_no_passkeys(rita: Person, settings: Settings) -> None:
    client = browser()
    log_in(client, "rita")
    settings.ALLOWED_HOSTS = ["*"]
    answer = client.post("/account/passkeys/question/")
    assert answer.status_code == 400 and "put localhost in ALLOWED_HOSTS" in answer.content.decode()
    answer = client.post("/account/passkeys/new/", {"password": PASSWORD})
    assert answer.status_code == 400 and "put localhost in ALLOWED_HOSTS" in answer.content.decode()


def test_nobody_touches_the_passkeys_of_somebody_else(world: World) -> None:
    device = SoftwarePasskey()
    add(world.cast.rita, device)
    credential, by = Passkey.objects.get().credential_id, world.cast.act("ravi")
    asked, mine = new_question(SITE), SoftwarePasskey()
    for act in (
        lambda: remove_passkey(person=world.cast.rita, credential=credential, by=by),
        lambda: use_passkey(person=world.cast.rita, answer=device.use(asked), question=asked, by=by),
        lambda: add_passkey(
            person=world.cast.rita, name="Mine", answer=mine.create(asked), question=asked, by=by
        ),
    ):
        with pytest.raises(NotAllowed, match="their own"):
            act()
    with pytest.raises(NotAllowed, match="none of yours"):
        use(world.cast.ravi, device)
    with pytest.raises(BadInput, match="no such passkey"):
        remove_passkey(person=world.cast.ravi, credential=credential, by=by)


def test_of_two_passkeys_one_is_removed(rita: Person) -> None:
    for device in (first := SoftwarePasskey(), second := SoftwarePasskey()):
        add(rita, device)
    known = Passkey.objects.order_by("pk")[0]
    remove_passkey(person=rita, credential=known.credential_id, by=rita.actor("session"))
    use(rita, second)
    with pytest.raises(NotAllowed, match="none of yours"):
        use(rita, first)


def test_a_passkey_put_in_behind_the_log_is_found(rita: Person) -> None:
    add(rita, SoftwarePasskey())
    with connection.cursor() as cursor:
        cursor.execute("UPDATE governance_passkey SET public_key = 'mine'")
    assert any("governance_passkey" in sentence for sentence in live_differences())
