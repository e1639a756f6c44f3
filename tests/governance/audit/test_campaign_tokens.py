"""Campaign tokens: an operator's own, kept as a digest, and good for no longer than they, their person and role are."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from governance import actions
from governance.actors import SETUP, Actor
from governance.audit.campaign_tokens import create_campaign_token, revoke_campaign_token, starter
from governance.errors import BadInput, NotAllowed
from governance.models import AuditEntry, CampaignToken, Person
from governance.people import person_named
from tests.governance.cast import PASSWORD, make_person

pytestmark = pytest.mark.one_database


@pytest.fixture
def oscar(db: None) -> Person:
    """An operator."""
    actions.install_policy(by=SETUP)
    return make_person("oscar", "operator")


@pytest.fixture
def token(oscar: Person) -> str:
    """A campaign token of the operator's, for a day."""
    return create_campaign_token(name="nightly", days=1, by=oscar.actor("command"))


def test_a_token_acts_for_its_person_until_its_time_is_over(token: str, oscar: Person) -> None:
    now = timezone.now()
    assert starter(token, now) == (Actor("system", "token:nightly", "token"), oscar)
    assert starter(token + "x", now) is None
    with pytest.raises(NotAllowed, match="'nightly' expired on"):
        starter(token, now + timedelta(days=1, seconds=1))


def test_a_token_ends_with_its_persons_account_their_role_and_its_revocation(
    token: str, oscar: Person
) -> None:
    now = timezone.now()
    User.objects.filter(pk=oscar.user_id).update(is_active=False)
    with pytest.raises(NotAllowed, match="oscar cannot start campaigns now"):
        starter(token, now)
    User.objects.filter(pk=oscar.user_id).update(is_active=True)
    assert starter(token, now) is not None
    oscar.grants.all().delete()
    with pytest.raises(NotAllowed, match="oscar cannot start campaigns now"):
        starter(token, now)
    revoke_campaign_token(name="nightly", by=make_person("otis", "operator").actor("command"))
    assert starter(token, now) is None


def test_a_campaign_token_is_an_operators_own_and_only_its_digest_is_kept(
    token: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    oscar = person_named("oscar").actor("command")
    row = CampaignToken.objects.get()
    assert (row.person, str(row)) == (oscar.ref, "campaign token nightly")
    assert token not in str(CampaignToken.objects.values())
    assert token not in "".join(AuditEntry.objects.values_list("body", flat=True))
    for name, days in (("nightly", 1), ("Has Blank", 1), ("", 1), ("x" * 41, 1), ("long", 91), ("none", 0)):
        with pytest.raises(BadInput):
            create_campaign_token(name=name, days=days, by=oscar)
    rita = make_person("rita", "reviewer")
    with pytest.raises(NotAllowed):
        create_campaign_token(name="more", days=1, by=rita.actor("command"))
    monkeypatch.setenv("PAWL_PASSWORD", PASSWORD)
    call_command("campaign_token", "create", "second", "--days", "2", "--as", "oscar", "--json")
    assert starter(json.loads(capsys.readouterr().out)["token"], timezone.now()) is not None
    call_command("campaign_token", "revoke", "nightly", "--as", "oscar")
    call_command("campaign_token", "list")
    shown = capsys.readouterr().out
    assert "nightly: revoked" in shown and "second: until " in shown
    with pytest.raises(BadInput, match="in use"):
        revoke_campaign_token(name="nightly", by=oscar)
    with pytest.raises(CommandError, match="Name the program"):
        call_command("campaign_token", "create")
    CampaignToken.objects.all().delete()
    call_command("campaign_token", "list")
    assert "No campaign token" in capsys.readouterr().out
