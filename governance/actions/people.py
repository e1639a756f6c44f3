"""Acts on people: add a person, give a role, take it back."""

from __future__ import annotations

import secrets

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.validators import ASCIIUsernameValidator

from governance.actions.base import act
from governance.actors import Actor
from governance.audit.log import Facts, record
from governance.errors import BadInput
from governance.models import Person, RoleGrant
from governance.policy import policy_facts
from governance.roles import ROLES
from governance.rules import check_may_add_people, check_may_change_roles


@act("person.add", durable=True)
def create_person(*, username: str, password: str, by: Actor) -> Person:
    """Add a person with an account that can sign in at the desk; they hold no role yet.

    Raises BadInput for a name that is taken, ValidationError for a name or a password that the rules refuse.
    """
    check_may_add_people(by)
    ASCIIUsernameValidator()(username)
    users = get_user_model()
    if users.objects.filter(username=username).exists():
        raise BadInput(f"The name {username!r} is taken.")
    validate_password(password, users(username=username))
    user = users.objects.create_user(username, password=password, is_staff=True)
    person = Person.objects.create(ref=f"p-{secrets.token_hex(8)}", user=user)
    record(by=by, action="person.add", subject=("person", person.ref), facts=Facts(policy=policy_facts()))
    return person


@act("role.grant", durable=True)
def grant_role(*, person: Person, role: str, by: Actor) -> RoleGrant:
    """Give a person a role; one they hold already is left as it is. Nobody gives a role to themselves."""
    check_may_change_roles(person, by)
    _check_role(role)
    known = RoleGrant.objects.filter(person=person, role=role).first()
    if known:
        return known
    grant = RoleGrant.objects.create(person=person, role=role, granted_by=by.ref)
    person.user.groups.add(Group.objects.get_or_create(name=role)[0])
    facts = Facts(policy=policy_facts(), detail={"role": role})
    record(by=by, action="role.grant", subject=("person", person.ref), facts=facts)
    return grant


@act("role.revoke", durable=True)
def revoke_role(*, person: Person, role: str, by: Actor) -> None:
    """Take a role back from somebody else. Raises BadInput when they do not hold it."""
    check_may_change_roles(person, by)
    _check_role(role)
    if not RoleGrant.objects.filter(person=person, role=role).delete()[0]:
        raise BadInput(f"{person} does not hold the role {role}.")
    person.user.groups.remove(*Group.objects.filter(name=role))
    facts = Facts(policy=policy_facts(), detail={"role": role})
    record(by=by, action="role.revoke", subject=("person", person.ref), facts=facts)


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise BadInput(f"{role!r} is no role; the roles are {', '.join(ROLES)}.")
