"""Where a release comes from, and what must not go live because of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.db.models import QuerySet

from governance.audit.rows import Governed
from governance.errors import NotAllowed
from governance.models import Hold, Pointer, PointerMove, Proposal, Release, Task, Version
from governance.pointers import live_release, release_key
from governance.transitions import OPEN

AT_ONCE: Final = 500  # keys that one query asks for; databases bound them


def ancestry(release: Release) -> set[str]:
    """The digests of a release, its harness, its adapter and everything that they were made from."""
    releases = _above(Release.objects.only("digest", "parent", "harness", "adapter"), {release.pk})
    versions = {pk for row in releases for pk in (row.harness_id, row.adapter_id) if pk is not None}
    return {row.digest for row in [*releases, *_above(Version.objects.only("digest", "parent"), versions)]}


def held_with(release: Release | None, version: Version | None) -> set[str]:
    """The digests whose hold stops this release, or this evaluator, policy or roster.

    What replaces a bad evaluator or policy is not stopped by the hold of its forerunner; a release is.
    """
    if release is not None:
        return ancestry(release)
    return {version.digest} if version is not None else set()


def stopped_by_hold_of(digest: str) -> list[int]:
    """The primary keys of the open proposals that a hold of this digest stops: the other way round of `held_with`."""
    releases = _made_from(digest)
    rows = Proposal.objects.filter(status__in=OPEN).order_by("pk")
    return [
        pk
        for pk, release, version in rows.values_list("pk", "release_id", "version__digest")
        if (version == digest if release is None else release in releases)
    ]


def live_descendants(digest: str) -> list[tuple[Task, Release]]:
    """The tasks whose live release is, or was made from, the release or version of this digest."""
    releases = _made_from(digest)
    keys = set(Pointer.objects.filter(key__startswith="release:").values_list("key", flat=True))
    live = [(task, live_release(task)) for task in Task.objects.order_by("slug") if release_key(task) in keys]
    return [(task, release) for task, release in live if release.pk in releases]


def derived_from(task: Task, digest: str) -> list[Release]:
    """The task's releases that are, or were made from, the release or version of this digest, oldest first."""
    rows = Release.objects.filter(task=task).select_related("harness", "adapter")
    return [release for _, release in sorted(rows.in_bulk(_made_from(digest)).items())]


def newest_without(task: Task, digest: str) -> Release | None:
    """The release that was live last, was not made from this digest and that nobody holds; None without one."""
    releases = _made_from(digest)
    moves = PointerMove.objects.filter(key=release_key(task)).order_by("-generation")
    for former in moves.values_list("digest", flat=True):
        release = Release.objects.get(digest=former)
        if release.pk not in releases and not _holds(release, None, but_for_reverts=True):
            return release
    return None


def _made_from(digest: str) -> set[int]:
    """The primary keys of the releases that are, or were made from, the release or version of this digest."""
    versions = _below(Version, Version.objects.filter(digest=digest).values_list("pk", flat=True))
    made = {pk for column in ("harness", "adapter") for pk in _with(Release, column, versions)}
    return _below(Release, {*Release.objects.filter(digest=digest).values_list("pk", flat=True), *made})


def _above(rows: QuerySet[Any], keys: set[int]) -> list[Any]:
    """The rows with these keys, their parents, theirs, and so on: one query a generation, however many there are."""
    found: dict[int, Any] = {}
    while keys:
        level = rows.in_bulk(keys)
        found |= level
        keys = {row.parent_id for row in level.values() if row.parent_id is not None} - found.keys()
    return list(found.values())


def _below(model: type[Governed], keys: Iterable[int]) -> set[int]:
    """The keys of these rows, their children, theirs, and so on."""
    level = set(keys)
    found = set(level)
    while level:
        level = _with(model, "parent", level) - found
        found |= level
    return found


def _with(model: type[Governed], column: str, keys: set[int]) -> set[int]:
    """The keys of the rows that refer to one of these by this column."""
    ordered = sorted(keys)
    parts = [ordered[at : at + AT_ONCE] for at in range(0, len(ordered), AT_ONCE)]
    return {
        pk
        for part in parts
        for pk in model.objects.filter(**{f"{column}__in": part}).values_list("pk", flat=True)
    }


def _holds(release: Release | None, version: Version | None, *, but_for_reverts: bool) -> list[Hold]:
    """The holds that stop this release or version, oldest first."""
    holds = Hold.objects.filter(lifted_at__isnull=True).order_by("held_at")
    found = list(holds.filter(automatic=False) if but_for_reverts else holds)
    line = held_with(release, version) if found else set()
    return [hold for hold in found if hold.digest in line]


def check_not_held(
    release: Release | None, version: Version | None = None, *, but_for_reverts: bool = False
) -> None:
    """Raises NotAllowed while what would go live, or what it was made from, is held (but for what a revert held)."""
    for hold in _holds(release, version, but_for_reverts=but_for_reverts):
        itself = release is None or hold.digest == release.digest
        whose = "It" if itself else f"It was made from {hold.digest[:12]}, which"
        raise NotAllowed(
            f"{whose} is held since {hold.held_at:%Y-%m-%d} ({hold.reason}); two people can lift that: "
            f"manage.py hold --lift {hold.digest[:12]}."
        )
