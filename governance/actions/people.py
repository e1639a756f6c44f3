"""Acts on people: add a person, give the first roles, put a roster in force."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.validators import ASCIIUsernameValidator

from governance.actions.base import act
from governance.actions.installing import install_pointer, register_version
from governance.actors import Actor
from governance.audit.log import Facts, record
from governance.digests import json_digest
from governance.errors import BadInput, NotAllowed
from governance.models import Person, RoleGrant, Version
from governance.pointers import ROSTER_KEY
from governance.policy import policy_facts
from governance.roster import FEWEST_OWNERS, check_owners, check_role_name, manifest_of, owners_in, roster_now
from governance.rules import check_in_setup, check_may_add_people, check_signed_in


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
    person = Person.objects.create(ref=f"p-{secrets.token_hex(8)}", user=user, seal=_new_seal())
    record(by=by, action="person.add", subject=("person", person.ref), facts=Facts(policy=policy_facts()))
    return person


@act("person.password", durable=True)
def change_password(*, person: Person, password: str, by: Actor) -> None:
    """Give an account another password: people do that for themselves alone.

    Raises NotAllowed for anyone else, ValidationError for a password that the rules refuse.
    """
    if check_signed_in(by) != person:
        raise NotAllowed("People change their own password only.")
    validate_password(password, person.user)
    person.user.set_password(password)
    person.user.save()
    _seal(person)
    facts = Facts(policy=policy_facts())
    record(by=by, action="person.password", subject=("person", person.ref), facts=facts)


@act("person.seal", durable=True)
def keep_account(*, person: Person, password: str, by: Actor) -> None:
    """Have the log vouch for an account that it does not know whole yet, as its person signs in.

    So it is with accounts older than the seal, and where the way of hashing changed: then `password` is hashed anew
    ("" leaves the hash). Raises NotAllowed for anyone but the person themselves.
    """
    if check_signed_in(by) != person:
        raise NotAllowed("An account is kept by its own person, as they sign in.")
    if password:
        person.user.set_password(password)
        person.user.save(update_fields=["password"])
    record_seal(person, by, hashed_anew=bool(password))


def record_seal(person: Person, by: Actor, *, cause: str = "", hashed_anew: bool = False) -> None:
    """An entry that commits to the account as it is now, as a part of the act that asks for it."""
    _seal(person)
    facts = Facts(policy=policy_facts(), cause=cause, detail={"hashed_anew": hashed_anew})
    record(by=by, action="person.seal", subject=("person", person.ref), facts=facts)


def _seal(person: Person) -> None:
    Person.objects.filter(pk=person.pk).update(seal=_new_seal())


def _new_seal() -> str:
    return secrets.token_hex(32)


@act("role.grant", durable=True)
def grant_role(*, person: Person, role: str, by: Actor) -> RoleGrant:
    """Give a role during the set-up, which the second evaluator owner ends; later a roster proposal does it.

    A role that is held already is left as it is. Raises NotAllowed once the set-up is over.
    """
    check_in_setup(by)
    check_role_name(role)
    known = RoleGrant.objects.filter(person=person, role=role).first()
    if known:
        return known
    grant = _give(person, role, by)
    facts = Facts(policy=policy_facts(), detail={"role": role})
    record(by=by, action="role.grant", subject=("person", person.ref), facts=facts)
    if owners_in(roster_now()) >= FEWEST_OWNERS:
        _end_setup(by)
    return grant


@act("role.revoke", durable=True)
def revoke_role(*, person: Person, role: str, by: Actor) -> None:
    """Take a role back during the set-up. Raises BadInput when it is not held, NotAllowed once the set-up is over."""
    check_in_setup(by)
    check_role_name(role)
    if not RoleGrant.objects.filter(person=person, role=role).exists():
        raise BadInput(f"{person} does not hold the role {role}.")
    _take(person, role)
    facts = Facts(policy=policy_facts(), detail={"role": role})
    record(by=by, action="role.revoke", subject=("person", person.ref), facts=facts)


def apply_roster(version: Version, by: Actor) -> None:
    """Make the grants what a roster version says: part of the act that puts it in force.

    Raises BadInput when it names somebody unknown or leaves too few owners.
    """
    wanted: Mapping[str, Any] = version.manifest["grants"]
    check_owners(wanted)
    people = {person.ref: person for person in Person.objects.select_related("user")}
    if unknown := sorted(wanted.keys() - people.keys()):
        raise BadInput(f"The roster names {unknown[0]}, who is not known here.")
    held = roster_now()
    for ref in sorted(held.keys() | wanted.keys()):
        before, after = set(held.get(ref, ())), set(wanted.get(ref, ()))
        for role in sorted(after - before):
            _give(people[ref], role, by)
        for role in sorted(before - after):
            _take(people[ref], role)


def _end_setup(by: Actor) -> None:
    manifest = manifest_of(roster_now())
    version = register_version(
        kind=Version.Kind.ROSTER, digest=json_digest(manifest), task=None, manifest=manifest, by=by
    )
    reason = f"{FEWEST_OWNERS} evaluator owners are known: the set-up is over."
    install_pointer(key=ROSTER_KEY, digest=version.digest, reason=reason, by=by)


def _give(person: Person, role: str, by: Actor) -> RoleGrant:
    return RoleGrant.objects.create(person=person, role=role, granted_by=by.ref)


def _take(person: Person, role: str) -> None:
    RoleGrant.objects.filter(person=person, role=role).delete()
