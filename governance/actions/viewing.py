"""What people looked at: files that they mark as viewed, evidence that they open. No decision, so no entry of its own;
each verdict's entry counts them.
"""

from __future__ import annotations

from django.db import transaction

from governance.actors import Actor
from governance.models import Seen
from governance.rules import check_signed_in


@transaction.atomic
def mark_seen(*, kind: str, digest: str, seen: bool, by: Actor) -> None:
    """Remember, or forget, that this person looked at a file or a piece of evidence.

    Raises NotAllowed unless a signed-in person acts.
    """
    person = check_signed_in(by)
    if seen:
        Seen.objects.get_or_create(person=person, kind=kind, digest=digest)
    else:
        Seen.objects.filter(person=person, kind=kind, digest=digest).delete()
