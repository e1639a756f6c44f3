"""The admin is a reading room with labelled buttons."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.test import Client

from governance.actions import keep_account, revert
from governance.models import AuditEntry, Proposal, Review
from tests.governance.cast import PASSWORD, REASON, SEED, World, approved, promoted, ready, say

pytestmark = pytest.mark.one_database

MODELS = [model._meta.model_name for model in apps.get_app_config("governance").get_models()]
READ = [name for name in MODELS if name != "audithead"]


def _client(world: World, name: str) -> Client:
    client = Client()
    assert client.login(username=name, password=PASSWORD)
    return client


@pytest.mark.parametrize("name", READ)
def test_every_table_can_be_read_and_nothing_can_be_added(world: World, name: str) -> None:
    promoted(world)
    client = _client(world, "operator")
    listed = client.get(f"/admin/governance/{name}/")
    assert listed.status_code == 200
    assert client.get(f"/admin/governance/{name}/add/").status_code == 403


def test_nothing_can_be_changed_or_deleted_not_even_by_a_superuser(world: World) -> None:
    proposal = ready(world)
    user = world.cast.operator.user
    user.is_superuser = True
    user.save()
    keep_account(person=world.cast.operator, password="", by=world.cast.act("operator"))
    client = _client(world, "operator")
    page = f"/admin/governance/proposal/{proposal.pk}"
    assert client.get(f"{page}/change/").status_code == 200
    assert client.post(f"{page}/change/", {"status": "promoted"}).status_code == 403
    assert client.post(f"{page}/delete/", {"post": "yes"}).status_code == 403
    proposal.refresh_from_db()
    assert proposal.status == "ready"


def test_a_superuser_without_a_role_reads_nothing(world: World) -> None:
    User.objects.create_superuser("root", password=PASSWORD)
    client = _client(world, "root")
    assert client.get("/admin/governance/proposal/").status_code == 403
    assert b"Proposals" not in client.get("/admin/").content
    page = f"/admin/governance/proposal/{ready(world).pk}/change/"
    assert client.get(page).status_code == 403


def test_the_log_is_read_by_auditors_owners_and_operators(world: World) -> None:
    assert _client(world, "rita").get("/admin/governance/auditentry/").status_code == 403
    assert _client(world, "olga").get("/admin/governance/auditentry/").status_code == 200
    entry = AuditEntry.objects.latest("seq")
    assert _client(world, "olga").get(f"/admin/governance/auditentry/{entry.pk}/change/").status_code == 200


def test_accounts_and_groups_are_not_edited_in_the_admin(world: World) -> None:
    client = _client(world, "operator")
    for page in ("/admin/auth/user/", "/admin/auth/group/"):
        assert client.get(page).status_code == 404


def test_buttons_lead_to_the_desk_and_refused_ones_say_why(world: World) -> None:
    proposal = approved(world)
    page = f"/admin/governance/proposal/{proposal.pk}/change/"
    shown = _client(world, "operator").get(page).content.decode()
    desk = f"/proposals/{proposal.ref}/"
    assert f'<a class="button" href="{desk}">Promote</a>' in shown
    assert "This needs the role reviewer; operator does not hold it." in shown
    shown = _client(world, "ravi").get(page).content.decode()
    assert f'<a class="button" href="{desk}">Approve</a>' in shown
    assert "This needs the role operator; ravi does not hold it." in shown


def test_a_promoted_proposal_offers_the_revert_only(world: World) -> None:
    proposal = promoted(world)
    page = f"/admin/governance/proposal/{proposal.pk}/change/"
    shown = _client(world, "operator").get(page).content.decode()
    assert ">Revert</a>" in shown
    assert ">Approve<" not in shown


def test_a_revert_offers_the_review_afterwards(world: World) -> None:
    proposal = promoted(world)
    back = revert(key=proposal.key, to_digest=world.seed.digest, reason=REASON, by=world.cast.act("operator"))
    page = f"/admin/governance/proposal/{back.pk}/change/"
    shown = _client(world, "rita").get(page).content.decode()
    assert f'<a class="button" href="/proposals/{back.ref}/">Acknowledge</a>' in shown
    shown = _client(world, "operator").get(page).content.decode()
    assert ">Acknowledge</a>" not in shown and "needs the role reviewer; operator does not hold it" in shown


def test_verdicts_stay_hidden_in_the_admin_while_a_proposal_is_open(world: World) -> None:
    proposal = ready(world, {"main.py": ("file", b"1")}, old=SEED)
    say(world, "rita", proposal)
    client = _client(world, "ravi")
    row = Review.objects.get()
    assert "0 reviews" in client.get("/admin/governance/review/").content.decode()
    assert client.get(f"/admin/governance/review/{row.pk}/change/").status_code == 302


def test_an_unknown_proposal_is_not_found_quietly(world: World) -> None:
    client = _client(world, "operator")
    assert client.get("/admin/governance/proposal/9999/change/").status_code == 302
    assert client.get("/admin/governance/proposal/nonsense/change/").status_code == 302
    assert Proposal.objects.count() == 0
