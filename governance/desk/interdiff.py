"""From one proposal to the next for the same pointer: which follows which, and what changed in between."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.db.models import Q

from governance import diffs
from governance.digests import sha256_hex
from governance.errors import BadInput
from governance.lanes import Files, changed_paths
from governance.models import Evidence, Person, Proposal, Review
from governance.transitions import OPEN, Status

Blob = tuple[str, bytes]
# Ended without a decision for it, so that a later proposal may be the same one again.
LAPSED: Final = frozenset(
    {Status.STALE, Status.EXPIRED, Status.CHANGES_REQUESTED, Status.REJECTED, Status.QUARANTINED}
)


@dataclass(frozen=True, slots=True)
class Interdiff:
    """The files that differ between two targets, and the paths whose texts no evidence carries any more."""

    old: diffs.Tree
    new: diffs.Tree
    unknown: tuple[str, ...]


def successor(proposal: Proposal) -> Proposal | None:
    """The newest open proposal for the same pointer that was opened later, if there is one."""
    later = Proposal.objects.filter(key=proposal.key, status__in=OPEN, pk__gt=proposal.pk)
    return later.order_by("-pk").first()


def former_review(proposal: Proposal, person: Person) -> Review | None:
    """This person's latest verdict on a proposal for the same pointer that lapsed, or on this one."""
    given = Review.objects.filter(Q(proposal=proposal) | Q(proposal__status__in=LAPSED), person=person)
    given = given.filter(proposal__key=proposal.key, proposal__pk__lte=proposal.pk)
    return given.select_related("proposal").order_by("-created_at", "-pk").first()


def interdiff(before: Proposal, after: Proposal) -> Interdiff:
    """What differs between the targets of two proposals, told from their evidence `diff` alone.

    Raises BadInput when that evidence is malformed.
    """
    old_files, new_files = _target_files(before), _target_files(after)
    blobs = _blobs(before, after)
    paths = changed_paths(old_files, new_files)
    trees = [
        {path: blobs[_key(files[path])] for path in paths if path in files and _key(files[path]) in blobs}
        for files in (old_files, new_files)
    ]
    unknown = tuple(
        path
        for path in paths
        if any(
            path in files and path not in tree
            for files, tree in zip((old_files, new_files), trees, strict=True)
        )
    )
    shown = [{path: blob for path, blob in tree.items() if path not in unknown} for tree in trees]
    return Interdiff(shown[0], shown[1], unknown)


def _target_files(proposal: Proposal) -> Files:
    """The file list of what the proposal would put in force; of a version without one, of its changed files."""
    if proposal.release is not None and "files" in proposal.release.harness.manifest:
        files: Files = proposal.release.harness.manifest["files"]
        return files
    return {path: [mode, sha256_hex(data)] for path, (mode, data) in _trees(proposal)[1].items()}


def _blobs(before: Proposal, after: Proposal) -> dict[tuple[str, str], Blob]:
    """Every blob that the evidence of these two, and of what made their bases live, carries."""
    bases = {before.base, after.base}
    made_bases = Proposal.objects.filter(key=after.key, target__in=bases).filter(~Q(base=""))
    sources = [before, after, *made_bases.order_by("-pk")[:5]]
    blobs = [blob for each in sources for tree in _trees(each) for blob in tree.values()]
    return {(mode, sha256_hex(data)): (mode, data) for mode, data in blobs}


def _trees(proposal: Proposal) -> tuple[diffs.Tree, diffs.Tree]:
    row = Evidence.objects.filter(proposal=proposal, name="diff").first()
    if row is None:
        return {}, {}
    try:
        return diffs.unpack(json.loads(row.data()))
    except ValueError as error:
        raise BadInput(f"The evidence `diff` is not JSON: {error}.") from error


def _key(entry: Sequence[str]) -> tuple[str, str]:
    return entry[0], entry[1]
