"""People and roles: who gives them, and that nothing else counts."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ValidationError

from governance.actions import create_person, grant_role, install_policy, install_task, revoke_role
from governance.actors import LOOP, SETUP
from governance.errors import BadInput, NotAllowed
from governance.models import AuditEntry, Person, RoleGrant
from governance.people import in_setup, person_for_user, person_named
from governance.roles import OPERATOR, OWNER, REVIEWER, VIEWER, roles_of
from tests.governance.cast import PASSWORD, World, make_person


def test_the_set_up_ends_with_the_first_owner(db: None) -> None:
    install_policy(by=SETUP)
    first = make_person("olga")
    assert in_setup()
    grant_role(person=first, role=OWNER, by=SETUP)
    assert not in_setup()
    with pytest.raises(NotAllowed):
        create_person(username="late", password=PASSWORD, by=SETUP)
    with pytest.raises(NotAllowed, match="roles are given by one of them"):
        grant_role(person=first, role=OPERATOR, by=SETUP)


def test_an_owner_gives_and_takes_roles_and_groups_follow(world: World) -> None:
    outsider, olga = world.cast.outsider, world.cast.act("olga")
    grant_role(person=outsider, role=REVIEWER, by=olga)
    assert roles_of(outsider) == {VIEWER, REVIEWER}
    assert outsider.user.groups.filter(name=REVIEWER).exists()
    revoke_role(person=outsider, role=REVIEWER, by=olga)
    assert roles_of(outsider) == {VIEWER}
    assert not outsider.user.groups.filter(name=REVIEWER).exists()
    assert [entry.action for entry in AuditEntry.objects.order_by("-seq")[:2]] == [
        "role.revoke",
        "role.grant",
    ]


def test_a_role_given_twice_is_held_once(world: World) -> None:
    grant_role(person=world.cast.rita, role=REVIEWER, by=world.cast.act("olga"))
    assert RoleGrant.objects.filter(person=world.cast.rita).count() == 1


def test_nobody_gives_a_role_to_themselves(world: World) -> None:
    with pytest.raises(NotAllowed, match="cannot change their own roles"):
        grant_role(person=world.cast.olga, role=OPERATOR, by=world.cast.act("olga"))


@pytest.mark.parametrize("name", ["operator", "rita", "outsider"])
def test_only_owners_give_roles(world: World, name: str) -> None:
    with pytest.raises(NotAllowed, match="needs the role evaluator owner"):
        grant_role(person=world.cast.outsider, role=REVIEWER, by=world.cast.act(name))


def test_the_loop_gives_no_roles(world: World) -> None:
    with pytest.raises(NotAllowed, match="Only a person"):
        grant_role(person=world.cast.outsider, role=REVIEWER, by=LOOP)
    entry = AuditEntry.objects.latest("seq")
    assert (entry.action, entry.outcome, entry.object_id) == ("role.grant", "denied", world.cast.outsider.ref)


def test_unknown_roles_and_roles_not_held_are_named(world: World) -> None:
    with pytest.raises(BadInput, match="is no role"):
        grant_role(person=world.cast.outsider, role="king", by=world.cast.act("olga"))
    with pytest.raises(BadInput, match="does not hold the role"):
        revoke_role(person=world.cast.outsider, role=REVIEWER, by=world.cast.act("olga"))


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
