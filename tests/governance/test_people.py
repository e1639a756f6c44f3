"""People and roles: who gives them, and that nothing else counts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from governance.actions import (
    create_person,
    grant_role,
    install_policy,
    install_task,
    promote,
    register_version,
    revoke_role,
    withdraw,
)
from governance.actions.people import apply_roster
from governance.actors import LOOP, SETUP
from governance.assurance.judged_by import bytes_of
from governance.assurance.replay import replay
from governance.digests import json_digest
from governance.errors import BadInput, NotAllowed
from governance.models import AuditEntry, Person, Proposal, RoleGrant, Version
from governance.people import in_setup, person_for_user, person_named
from governance.roles import OPERATOR, OWNER, REVIEWER, VIEWER, roles_of
from governance.roster import RoleChange, changed, manifest_of, roster_now
from governance.submitting import submit_roles
from tests.governance.cast import PASSWORD, REASON, World, age, change_role, make_person, ready, say

pytestmark = pytest.mark.one_database


def test_the_set_up_ends_with_the_second_owner(db: None, signer_home: Path) -> None:
    install_policy(by=SETUP)
    first, second = make_person("olga", OWNER), make_person("otto")
    assert in_setup()
    revoke_role(person=first, role=OWNER, by=SETUP)
    grant_role(person=first, role=OWNER, by=SETUP)
    grant_role(person=second, role=OWNER, by=SETUP)
    assert not in_setup()
    with pytest.raises(NotAllowed):
        create_person(username="late", password=PASSWORD, by=SETUP)
    for change in (grant_role, revoke_role):
        with pytest.raises(NotAllowed, match="Roles change by a proposal"):
            change(person=first, role=OWNER, by=SETUP)


def test_who_loses_the_last_role_is_no_longer_in_the_roster() -> None:
    held = {"p-1": [OWNER], "p-2": [OWNER], "p-3": [VIEWER]}
    leaving = RoleChange("p-3", VIEWER, "revoke")
    assert changed(held, [leaving]) == {"p-1": [OWNER], "p-2": [OWNER]}


def test_people_neither_add_people_nor_give_roles_because_the_set_up_lasts(db: None) -> None:
    install_policy(by=SETUP)
    vera = make_person("vera", VIEWER).actor("session")
    with pytest.raises(NotAllowed):
        create_person(username="friend", password=PASSWORD, by=vera)
    with pytest.raises(NotAllowed, match="Roles change by a proposal"):
        grant_role(person=person_named("vera"), role=OWNER, by=vera)


def test_during_the_set_up_a_role_given_twice_is_held_once_and_one_not_held_is_named(db: None) -> None:
    install_policy(by=SETUP)
    rita = make_person("rita", REVIEWER, REVIEWER)
    assert RoleGrant.objects.filter(person=rita).count() == 1
    with pytest.raises(BadInput, match="is no role"):
        grant_role(person=rita, role="king", by=SETUP)
    with pytest.raises(BadInput, match="is no role"):
        revoke_role(person=rita, role="king", by=SETUP)
    make_person("vera", VIEWER)
    with pytest.raises(BadInput, match="does not hold the role"):
        revoke_role(person=rita, role=VIEWER, by=SETUP)


def test_a_roster_that_leaves_one_owner_is_not_put_in_force(world: World) -> None:
    grants = {**roster_now(), world.cast.olga.ref: [REVIEWER]}
    with pytest.raises(BadInput, match="owner"), transaction.atomic():
        apply_roster(
            Version(kind=Version.Kind.ROSTER, manifest={"grants": grants}), world.cast.act("operator")
        )
    assert roster_now()[world.cast.olga.ref] != [REVIEWER]


def make_reviewer(world: World, act: str = "grant", role: str = REVIEWER) -> Proposal:
    """The operator's proposal to give the outsider a role (or take it)."""
    change = RoleChange(world.cast.outsider.ref, role, act)  # type: ignore[arg-type]
    return submit_roles(changes=[change], summary="They joined.", by=world.cast.act("operator"))


def test_two_owners_give_a_role_after_a_day_and_it_counts_after_another(world: World) -> None:
    proposal = make_reviewer(world)
    assert proposal.lane == "roles"
    for name in ("olga", "otto"):
        say(world, name, proposal)
    with pytest.raises(NotAllowed, match="cools off for 24 hours"):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))
    age(proposal, hours=25)
    promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))
    assert roles_of(world.cast.outsider) == {VIEWER, REVIEWER}
    change = ready(world)
    with pytest.raises(NotAllowed, match="holds the role reviewer for too short a time; it counts from"):
        say(world, "outsider", change)
    RoleGrant.objects.filter(role=REVIEWER, person=world.cast.outsider).update(
        granted_at=timezone.now() - timedelta(hours=25)
    )
    say(world, "outsider", change)
    assert change.status == "approved"


def test_two_owners_take_a_role_back(world: World) -> None:
    change_role(world, "outsider", VIEWER, "revoke")
    assert roles_of(world.cast.outsider) == frozenset()


def test_who_loses_one_role_of_two_keeps_the_other(world: World) -> None:
    change_role(world, "starter", REVIEWER, "revoke")
    assert roles_of(world.cast.starter) == {OPERATOR}


def test_whoever_is_concerned_does_not_decide_and_a_second_change_goes_stale(world: World) -> None:
    own = RoleChange(world.cast.olga.ref, OPERATOR, "grant")
    proposal = submit_roles(changes=[own], summary="More.", by=world.cast.act("operator"))
    with pytest.raises(NotAllowed, match="somebody else must decide"):
        say(world, "olga", proposal)
    change_role(world, "outsider", REVIEWER, "grant")
    proposal.refresh_from_db()
    assert (proposal.status, "roster moved" in proposal.status_reason) == ("stale", True)


@pytest.mark.parametrize(
    ("act", "role", "sentence"),
    [
        ("grant", "king", "is no role"),
        ("grant", VIEWER, "already holds the role viewer"),
        ("revoke", REVIEWER, "does not hold the role reviewer"),
    ],
)
def test_a_roster_that_changes_nothing_is_not_proposed(
    world: World, act: str, role: str, sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        make_reviewer(world, act, role)


def test_two_owners_always_stay(world: World) -> None:
    leaving = RoleChange(world.cast.olga.ref, OWNER, "revoke")
    with pytest.raises(BadInput, match="leave 1 of at least 2 evaluator owners"):
        submit_roles(changes=[leaving], summary="She left.", by=world.cast.act("operator"))


@pytest.mark.parametrize("name", ["rita", "outsider"])
def test_only_owners_and_operators_propose_roles(world: World, name: str) -> None:
    change = RoleChange(world.cast.outsider.ref, REVIEWER, "grant")
    with pytest.raises(NotAllowed, match="needs the role"):
        submit_roles(changes=[change], summary="Me too.", by=world.cast.act(name))


def test_the_loop_gives_no_roles(world: World) -> None:
    with pytest.raises(NotAllowed, match="Roles change by a proposal"):
        grant_role(person=world.cast.outsider, role=REVIEWER, by=LOOP)
    entry = AuditEntry.objects.latest("seq")
    assert (entry.action, entry.outcome, entry.object_id) == ("role.grant", "denied", world.cast.outsider.ref)


def test_a_roster_of_strangers_is_not_put_in_force(world: World) -> None:
    manifest = manifest_of({**roster_now(), "p-nobody": [REVIEWER]})
    version = register_version(
        kind="roster", digest=json_digest(manifest), task=None, manifest=manifest, by=world.cast.act("olga")
    )
    with pytest.raises(BadInput, match="names p-nobody, who is not known"), transaction.atomic():
        apply_roster(version, world.cast.act("olga"))


def test_the_log_replays_with_a_changed_roster(world: World) -> None:
    change_role(world, "outsider", REVIEWER, "grant")
    state = replay((row.entry() for row in AuditEntry.objects.order_by("seq")), bytes_of)
    assert (
        len(state.broken) == 1 and "cools off" in state.broken[0]
    )  # rows went back in time, the log did not
    assert state.pointers["roster"].generation == 1


def test_operators_add_people_and_reviewers_do_not(world: World) -> None:
    assert (
        roles_of(create_person(username="new", password=PASSWORD, by=world.cast.act("operator")))
        == frozenset()
    )
    with pytest.raises(NotAllowed):
        create_person(username="newer", password=PASSWORD, by=world.cast.act("rita"))


def test_bad_names_weak_passwords_and_taken_names_are_refused(world: World) -> None:
    by = world.cast.act("operator")
    with pytest.raises(BadInput, match="taken"):
        create_person(username="rita", password=PASSWORD, by=by)
    with pytest.raises(ValidationError):
        create_person(username="new", password="short", by=by)
    with pytest.raises(ValidationError):
        create_person(username="with space", password=PASSWORD, by=by)
    assert not User.objects.filter(username__in=["new", "with space"]).exists()


def test_the_log_knows_people_by_reference_only(world: World) -> None:
    names = Person.objects.values_list("user__username", flat=True)
    bodies = "".join(AuditEntry.objects.filter(action__startswith="person.").values_list("body", flat=True))
    assert bodies
    assert not any(f'"{name}"' in bodies for name in names)


def test_an_account_is_not_a_person_by_itself(world: World) -> None:
    root = User.objects.create_superuser("root", password=PASSWORD)
    assert person_for_user(root) is None
    assert person_for_user(AnonymousUser()) is None
    assert person_for_user(world.cast.rita.user) == world.cast.rita


def test_a_name_that_nobody_has_is_named(world: World) -> None:
    with pytest.raises(Person.DoesNotExist, match="no person named 'nobody'"):
        person_named("nobody")


def test_only_the_set_up_and_operators_install_tasks(world: World) -> None:
    for by in (LOOP, world.cast.act("rita")):
        with pytest.raises(NotAllowed):
            install_task(spec={"id": "other"}, spec_digest="0" * 64, by=by)
    task = install_task(spec={"id": "other"}, spec_digest="0" * 64, by=world.cast.act("operator"))
    assert task.installed_by == world.cast.operator.ref


def test_nobody_withdraws_the_proposal_that_takes_their_role(world: World) -> None:
    change = RoleChange(world.cast.rita.ref, REVIEWER, "revoke")
    proposal = submit_roles(changes=[change], summary="Left.", by=world.cast.act("olga"))
    with pytest.raises(NotAllowed, match="Only whoever proposed this, or an operator"):
        withdraw(proposal=proposal, reason=REASON, by=world.cast.act("rita"))
    withdraw(proposal=proposal, reason=REASON, by=world.cast.act("olga"))


def test_a_refused_proposal_of_roles_is_in_the_log_and_agents_make_none(world: World) -> None:
    change = RoleChange(world.cast.ada.ref, VIEWER, "grant")
    for by in (world.cast.act("rita"), LOOP):
        with pytest.raises(NotAllowed):
            submit_roles(changes=[change], summary="Asked.", by=by)
        entry = AuditEntry.objects.latest("seq")
        assert (entry.action, entry.outcome, entry.actor) == ("proposal.open", "denied", by.ref)
