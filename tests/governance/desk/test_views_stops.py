"""The stop switch at the desk."""

from __future__ import annotations

import pytest
from django.test import Client

from governance.actions import revert, stop
from governance.models import AuditEntry, Halt
from tests.governance.cast import PASSWORD, REASON, World, promoted


def as_person(world: World, name: str) -> Client:
    client = Client(headers={"host": "localhost"})
    client.force_login(getattr(world.cast, name).user)
    return client


def press(world: World, name: str, act: str, scope: str = "", password: str = PASSWORD) -> tuple[int, str]:
    form = {"act": act, "scope": scope, "reason": REASON, "password": password}
    answer = as_person(world, name).post("/stops/act/", form, follow=True)
    return answer.status_code, answer.content.decode()


def test_one_person_stops_and_every_page_says_so_until_two_resumed(world: World) -> None:
    assert "Everything is stopped; two people can resume it." in press(world, "rita", "stop")[1]
    assert f"Everything is stopped ({REASON})" in as_person(world, "outsider").get("/").content.decode()
    assert "a second person must ask too" in press(world, "operator", "resume")[1]
    assert "Asked to resume: operator." in as_person(world, "olga").get("/stops/").content.decode()
    assert "Everything goes on." in press(world, "olga", "resume")[1]
    assert "is stopped" not in as_person(world, "outsider").get("/").content.decode()


def test_a_wrong_password_stops_nothing_and_is_in_the_log(world: World) -> None:
    status, page = press(world, "rita", "stop", "digits", "wrong")
    assert (status, Halt.objects.count()) == (403, 0)
    assert "The password is not yours" in page and REASON in page
    assert AuditEntry.objects.latest("seq").action == "desk.step_up"


@pytest.mark.parametrize(
    ("name", "act", "scope", "status", "sentence"),
    [
        ("outsider", "stop", "", 403, "needs the role"),
        ("rita", "pause", "", 400, "knows no act"),
        ("rita", "stop", "nope", 400, "not installed"),
        ("operator", "resume", "digits", 400, "digits is not stopped"),
    ],
)
def test_refusals_come_back_in_words(
    world: World, name: str, act: str, scope: str, status: int, sentence: str
) -> None:
    found, page = press(world, name, act, scope)
    assert (found, sentence in page) == (status, True)


def test_the_page_lists_what_is_stopped_and_what_is_held(world: World) -> None:
    proposal = promoted(world)
    revert(key=proposal.key, to_digest=world.seed.digest, reason=REASON, by=world.cast.act("operator"))
    stop(scope="digits", reason=REASON, by=world.cast.act("rita"))
    page = as_person(world, "rita").get("/stops/").content.decode()
    assert "Stopped by rita" in page
    assert proposal.target[:12] in page
    assert "This needs the role evaluator owner or operator; rita does not hold it." in page
