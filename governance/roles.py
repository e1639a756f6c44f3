"""The roles of people. A role counts only through a grant; Django's groups and superusers give nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from governance.models import Person

VIEWER: Final = "viewer"
REVIEWER: Final = "reviewer"
OWNER: Final = "evaluator owner"
OPERATOR: Final = "operator"
AUDITOR: Final = "auditor"

ROLES: Final = (VIEWER, REVIEWER, OWNER, OPERATOR, AUDITOR)

MEANING: Final = {
    VIEWER: "reads everything that is not hidden",
    REVIEWER: "reviews releases",
    OWNER: "decides about evaluators, policies and roles",
    OPERATOR: "promotes approved proposals, reverts, stops, installs tasks",
    AUDITOR: "reads and exports the audit log",
}


def roles_of(person: Person) -> frozenset[str]:
    """The roles this person holds now; none while their account is inactive."""
    if not person.user.is_active:
        return frozenset()
    return frozenset(grant.role for grant in person.grants.all())
