"""What a replay judges by beside the entries: the bytes of every policy and evaluator that was ever in force."""

from __future__ import annotations

from django.db.models import Q

from governance.digests import canonical_json
from governance.models import PointerMove, Version
from governance.pointers import POLICY_KEY
from governance.policy import policy_text

KINDS = (Version.Kind.POLICY, Version.Kind.EVALUATOR)


def judged_by() -> dict[str, bytes]:
    """{digest: the bytes that it is of} of every policy and evaluator that was ever in force."""
    moves = PointerMove.objects.filter(Q(key=POLICY_KEY) | Q(key__startswith="evaluator:"))
    rows = Version.objects.filter(kind__in=KINDS, digest__in=moves.values("digest")).order_by("digest")
    return {row.digest: _bytes(row) for row in rows}


def bytes_of(digest: str) -> bytes | None:
    """The bytes that the digest of a policy or an evaluator is of, as the table has them; None without a row."""
    row = Version.objects.filter(kind__in=KINDS, digest=digest).first()
    return None if row is None else _bytes(row)


def _bytes(version: Version) -> bytes:
    if version.kind == Version.Kind.POLICY:
        return policy_text(version).encode()
    return canonical_json(version.manifest)
