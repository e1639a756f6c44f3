"""What one person began and two end: a stop, a hold, a reset of lost factors."""

from __future__ import annotations

from typing import Final

from django.utils import timezone

from governance.errors import Stale
from governance.models import FactorReset, Halt, Hold, Person

PEOPLE_TO_END: Final = 2


def ask_to_end(row: Halt | Hold | FactorReset, person: Person, *, asked: str, ended: str) -> list[str]:
    """Note on a locked row that this person asks to end it, and end it with the second one; returns who asked so far.

    `asked` and `ended` name the row's columns. Raises Stale when somebody else asked at the same moment.
    """
    known: list[str] = getattr(row, asked)
    now = [*known, person.ref]
    changes = {asked: now, ended: timezone.now() if len(now) == PEOPLE_TO_END else None}
    still = type(row).objects.filter(pk=row.pk, **{asked: known, f"{ended}__isnull": True})
    if still.update(**changes) != 1:
        raise Stale("Somebody else asked for the same at the same moment; look again.")
    row.refresh_from_db()
    return now
