"""The roster: who holds which role, as one version that two owners put in force. Pure but for `roster_now`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from governance.errors import BadInput
from governance.models import RoleGrant
from governance.roles import OWNER, ROLES

FEWEST_OWNERS = 2
Grants = Mapping[str, Iterable[str]]


@dataclass(frozen=True, slots=True)
class RoleChange:
    """One role given to, or taken from, the person with this ref."""

    ref: str
    role: str
    act: Literal["grant", "revoke"]


def roster_now() -> dict[str, list[str]]:
    """{person ref: sorted roles} as held now; people without a role are left out."""
    held: dict[str, list[str]] = {}
    for ref, role in RoleGrant.objects.order_by("role").values_list("person__ref", "role"):
        held.setdefault(ref, []).append(role)
    return held


def manifest_of(grants: Grants) -> dict[str, Any]:
    """The manifest of a roster version, as `roster_now` or `changed` gave it; its canonical digest is the version's."""
    return {"grants": {ref: sorted(roles) for ref, roles in sorted(grants.items())}}


def owners_in(grants: Grants) -> int:
    """How many people hold the owners' role."""
    return sum(OWNER in roles for roles in grants.values())


def changed(held: Grants, changes: Iterable[RoleChange]) -> dict[str, list[str]]:
    """The roster after the changes. Raises BadInput for an unknown role, a change of nothing, or too few owners."""
    after = {ref: set(roles) for ref, roles in held.items()}
    for change in changes:
        check_role_name(change.role)
        roles = after.setdefault(change.ref, set())
        if (change.role in roles) == (change.act == "grant"):
            state = "already holds" if change.act == "grant" else "does not hold"
            raise BadInput(f"{change.ref} {state} the role {change.role}.")
        roles.symmetric_difference_update({change.role})
    check_owners(after)
    return {ref: sorted(roles) for ref, roles in after.items() if roles}


def check_role_name(role: str) -> None:
    """Raises BadInput for a role that does not exist."""
    if role not in ROLES:
        raise BadInput(f"{role!r} is no role; the roles are {', '.join(ROLES)}.")


def check_owners(grants: Grants) -> None:
    """Raises BadInput when so few owners would be left that nobody could decide about roles any more."""
    if owners_in(grants) < FEWEST_OWNERS:
        raise BadInput(
            f"This would leave {owners_in(grants)} of at least {FEWEST_OWNERS} evaluator owners; give the role to "
            "somebody else first."
        )


def roster_text(grants: Grants) -> str:
    """The roster as lines `ref: role, role`, to be read as a diff."""
    return "".join(f"{ref}: {', '.join(sorted(roles))}\n" for ref, roles in sorted(grants.items()))
