"""Serving what is live: the git branch `live` of each task follows the pointer that people move."""

from __future__ import annotations

from governance.models import Pointer, Release, Task
from governance.pointers import release_key
from loop.installation import repo_of


def follow_live() -> list[str]:
    """Move each task's branch `live` to the harness of its live release; returns the tasks that moved."""
    moved = []
    for task in Task.objects.order_by("slug"):
        pointer = Pointer.objects.filter(key=release_key(task)).first()
        if pointer is None:
            continue
        commit = (
            Release.objects.select_related("harness").get(digest=pointer.digest).harness.manifest["commit"]
        )
        repo = repo_of(task)
        before = repo.live()
        if before != commit:
            repo.move_live(commit, before)
            moved.append(task.slug)
    return moved
