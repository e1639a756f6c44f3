"""Lost second factors and accounts changed behind the log: what two owners can do about it, and nobody else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import MD5PasswordHasher, make_password
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import Client
from pytest_django.fixtures import Settings

from governance.actions import change_password, create_person, keep_account, reset_factors
from governance.assurance.verify import live_differences
from governance.desk.signin import sign_in
from governance.errors import NotAllowed
from governance.factors import kinds_of
from governance.models import AuditEntry, FactorReset, Person, RecoveryCode
from tests.governance.cast import PASSWORD, REASON, World, ready
from tests.governance.desk.factor_helpers import browser, give_authenticator, log_in
from tests.governance.desk.software_passkey import SoftwarePasskey
from tests.governance.desk.test_passkeys import add
from tests.governance.together import together

pytestmark = pytest.mark.one_database

CHANGED = "is not as the log recorded it"
OURS = "a pass phrase of somebody else"


def reset(world: World, who: Person, by: str) -> FactorReset:
    return reset_factors(person=who, reason=REASON, by=world.cast.act(by))


def test_two_owners_take_lost_factors_off(world: World) -> None:
    rita = world.cast.rita
    give_authenticator(rita)
    add(rita, SoftwarePasskey())
    assert reset(world, rita, "olga").done_at is None
    assert kinds_of(rita) == ("authenticator", "passkey")
    with pytest.raises(NotAllowed, match="a second owner"):
        reset(world, rita, "olga")
    assert reset(world, rita, "otto").done_at is not None
    assert kinds_of(rita) == () and not RecoveryCode.objects.exists()
    entry = AuditEntry.objects.filter(action="factor.reset", outcome="allowed").latest("seq").entry()
    told = {name: value for name, value in entry["detail"].items() if name != "rows"}
    refs = [world.cast.olga.ref, world.cast.otto.ref]
    kinds = ["authenticator", "passkey"]
    assert told == {"kinds": kinds, "asked": refs, "over": True, "account_as_logged": True}
    assert log_in(browser(), "rita")[0] == 302
    assert live_differences() == []


def test_neither_the_person_themselves_nor_anybody_else_counts(world: World) -> None:
    for name in ("operator", "rita", "ada"):
        with pytest.raises(NotAllowed, match="needs the role evaluator owner"):
            reset(world, world.cast.ravi, name)
    with pytest.raises(NotAllowed, match="Nobody resets their own"):
        reset(world, world.cast.olga, "olga")
    assert not FactorReset.objects.exists()


def test_the_first_asking_counts_for_a_day(world: World) -> None:
    rita = world.cast.rita
    first = reset(world, rita, "olga")
    FactorReset.objects.filter(pk=first.pk).update(asked_at=first.asked_at - timedelta(hours=25))
    assert reset(world, rita, "otto").done_at is None
    assert reset(world, rita, "olga").done_at is not None


def test_two_owners_at_the_same_moment_end_it_once(lasting_world: World) -> None:
    rita = lasting_world.cast.rita
    give_authenticator(rita)
    refused = together(
        lambda: reset(lasting_world, rita, "olga"),
        lambda: reset(lasting_world, rita, "otto"),
    )
    assert refused == [] and kinds_of(rita) == ()
    assert FactorReset.objects.get().done_at is not None


def test_it_is_done_at_the_desk_and_by_command(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    olga = browser()
    log_in(olga, "olga")
    form = {"person": "rita", "reason": REASON, "act": "reset", "password": PASSWORD}
    assert "Lost second factors" in olga.get("/people/").content.decode()
    assert olga.post("/people/factors/", {**form, "person": "nobody"}).status_code == 400
    assert olga.post("/people/factors/", {**form, "password": "x"}).status_code == 403
    assert olga.post("/people/factors/", form).status_code == 302
    page = olga.get("/people/").content.decode()
    assert "Noted; a second evaluator owner" in page and "Asked for <b>rita</b>" in page
    monkeypatch.setenv("PAWL_PASSWORD", PASSWORD)
    call_command("people", "reset", "rita", reason=REASON, username="otto")
    call_command("people", "reset", "rita", reason=REASON, username="otto")
    assert "are reset" in olga.post("/people/factors/", form, follow=True).content.decode()
    rita = browser()
    log_in(rita, "rita")
    assert "Lost second factors" not in rita.get("/people/").content.decode()


def behind(person: Person, **columns: Any) -> None:
    User.objects.filter(pk=person.user_id).update(**columns)


def doors(client: Client, name: str, password: str) -> list[str]:
    """What each door says to this password."""
    said = [log_in(client, name, password, door)[1] for door in ("/login/", "/admin/login/")]
    with pytest.raises(NotAllowed) as refusal:
        sign_in(name)
    return [*said, str(refusal.value)]


def test_a_password_written_into_the_database_opens_no_door_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rita, client = world.cast.rita, browser()
    proposal = ready(world)
    log_in(client, "rita")
    behind(rita, password=make_password(OURS))
    client.force_login(User.objects.get(pk=rita.user_id))
    monkeypatch.setenv("PAWL_PASSWORD", OURS)
    assert all(CHANGED in said.replace("&#x27;", "'") for said in doors(browser(), "rita", OURS))
    form = {"act": "approve", "reason": REASON, "subject_digest": proposal.subject_digest, "password": OURS}
    answer = client.post(f"/proposals/{proposal.ref}/act/", form)
    assert answer.status_code == 403 and CHANGED in answer.content.decode()
    assert not proposal.reviews.exists()
    old = {"old_password": OURS, "new_password1": PASSWORD, "new_password2": PASSWORD}
    assert CHANGED in client.post("/password/", old).content.decode()
    denied = AuditEntry.objects.filter(action="person.sign_in", outcome="denied", actor=rita.ref)
    assert denied.count() == 5
    assert any(f"Row {rita.pk} of governance_person" in line for line in live_differences())
    for owner in ("olga", "otto"):
        reset(world, rita, owner)
    assert log_in(browser(), "rita", OURS)[0] == 302
    entry = AuditEntry.objects.filter(action="factor.reset").latest("seq").entry()
    assert entry["detail"]["account_as_logged"] is False
    assert live_differences() == []


@pytest.mark.parametrize("columns", [{"is_superuser": True}, {"is_staff": False}])
def test_rights_written_into_the_database_are_found(world: World, columns: dict[str, bool]) -> None:
    behind(world.cast.rita, **columns)
    assert len(live_differences()) == 1
    assert CHANGED in log_in(browser(), "rita")[1]


def test_a_group_and_a_seal_written_into_the_database_are_found(world: World) -> None:
    world.cast.rita.user.groups.add(Group.objects.create(name="b"), Group.objects.create(name="a"))
    Person.objects.filter(pk=world.cast.ravi.pk).update(seal="")
    assert len(live_differences()) == 2
    assert CHANGED in log_in(browser(), "ravi")[1]


def test_the_log_commits_to_a_password_without_giving_anything_away(world: World) -> None:
    rita = world.cast.rita
    before = Person.objects.get(pk=rita.pk).seal
    change_password(person=rita, password=OURS, by=rita.actor("session"))
    after = Person.objects.get(pk=rita.pk).seal
    bodies = "".join(AuditEntry.objects.values_list("body", flat=True))
    assert len(after) == 64 and after != before
    assert not any(secret in bodies for secret in (before, after, User.objects.get(pk=rita.user_id).password))


class Costlier(MD5PasswordHasher):
    """What the same hash is called after it was made costlier."""

    algorithm = "costlier"


def test_signing_in_keeps_an_account_that_is_older_than_the_seal_or_whose_hash_is_outdated(
    world: World, settings: Settings
) -> None:
    rita = world.cast.rita
    settings.PASSWORD_HASHERS = [
        f"{__name__}.Costlier",
        "django.contrib.auth.hashers.MD5PasswordHasher",
    ]
    assert authenticate(None, username="rita", password=PASSWORD) is not None
    assert User.objects.get(pk=rita.user_id).password.startswith("costlier$")
    entry = AuditEntry.objects.latest("seq").entry()
    assert (entry["action"], entry["detail"]["hashed_anew"]) == ("person.seal", True)
    count = AuditEntry.objects.count()
    assert authenticate(None, username="rita", password=PASSWORD) is not None
    assert AuditEntry.objects.count() == count and live_differences() == []
    with pytest.raises(NotAllowed, match="by its own person"):
        keep_account(person=rita, password="", by=world.cast.act("ravi"))


def test_an_account_from_before_the_seal_is_explained_and_sealed_when_its_person_signs_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("governance.actions.people._new_seal", lambda: "")
    old = create_person(username="old", password=PASSWORD, by=world.cast.act("operator"))
    monkeypatch.undo()
    assert live_differences() == []
    behind(old, is_staff=True)
    assert live_differences() == []
    assert log_in(browser(), "old")[0] == 302
    behind(old, is_superuser=True)
    assert len(live_differences()) == 1
