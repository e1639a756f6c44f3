"""Where a release comes from, and what must not go live because of it."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import QuerySet

from governance.errors import NotAllowed
from governance.models import Hold, Pointer, PointerMove, Release, Task, Version
from governance.pointers import live_release, release_key


def ancestry(release: Release) -> set[str]:
    """The digests of a release, its harness, its adapter and everything that they were made from."""
    found: set[str] = set()
    line: Release | None = release
    while line is not None and line.digest not in found:
        found.add(line.digest)
        for version in (line.harness, line.adapter):
            found.update(_versions(version))
        line = line.parent
    return found


def held_with(release: Release | None, version: Version | None) -> set[str]:
    """The digests whose hold stops this release, or this evaluator, policy or roster.

    What replaces a bad evaluator or policy is not stopped by the hold of its forerunner; a release is.
    """
    if release is not None:
        return ancestry(release)
    return {version.digest} if version is not None else set()


def _versions(version: Version | None) -> Iterator[str]:
    seen: set[str] = set()
    while version is not None and version.digest not in seen:
        seen.add(version.digest)
        yield version.digest
        version = version.parent


def live_descendants(digest: str) -> list[tuple[Task, Release]]:
    """The tasks whose live release is, or was made from, the release or version of this digest."""
    keys = set(Pointer.objects.filter(key__startswith="release:").values_list("key", flat=True))
    live = [(task, live_release(task)) for task in Task.objects.order_by("slug") if release_key(task) in keys]
    return [(task, release) for task, release in live if digest in ancestry(release)]


def derived_from(task: Task, digest: str) -> list[Release]:
    """The task's releases that are, or were made from, the release or version of this digest, oldest first."""
    versions: set[int] = set()
    for row in Version.objects.filter(task=task).order_by("pk"):
        if row.digest == digest or row.parent_id in versions:
            versions.add(row.pk)
    found: dict[int, Release] = {}
    for release in Release.objects.filter(task=task).select_related("harness", "adapter").order_by("pk"):
        made_of = {release.harness_id, release.adapter_id} & versions
        if release.digest == digest or release.parent_id in found or made_of:
            found[release.pk] = release
    return list(found.values())


def newest_without(task: Task, digest: str) -> Release | None:
    """The release that was live last, was not made from this digest and that nobody holds; None without one."""
    moves = PointerMove.objects.filter(key=release_key(task)).order_by("-generation")
    for former in moves.values_list("digest", flat=True):
        release = Release.objects.get(digest=former)
        if digest not in ancestry(release) and not _holds(release, None, but_for_reverts=True).exists():
            return release
    return None


def _holds(release: Release | None, version: Version | None, *, but_for_reverts: bool) -> QuerySet[Hold]:
    holds = Hold.objects.filter(digest__in=held_with(release, version), lifted_at__isnull=True)
    return holds.filter(automatic=False) if but_for_reverts else holds


def check_not_held(
    release: Release | None, version: Version | None = None, *, but_for_reverts: bool = False
) -> None:
    """Raises NotAllowed while what would go live, or what it was made from, is held (but for what a revert held)."""
    hold = _holds(release, version, but_for_reverts=but_for_reverts).order_by("held_at").first()
    if hold is not None:
        itself = release is None or hold.digest == release.digest
        whose = "It" if itself else f"It was made from {hold.digest[:12]}, which"
        raise NotAllowed(
            f"{whose} is held since {hold.held_at:%Y-%m-%d} ({hold.reason}); two people can lift that: "
            f"manage.py hold --lift {hold.digest[:12]}."
        )
