"""What is in force: reading pointers. They are moved by governance/actions/ alone."""

from __future__ import annotations

from typing import Final

from governance.errors import BadInput
from governance.models import Pointer, Release, Task, Version

POLICY_KEY: Final = "policy"
ROSTER_KEY: Final = "roster"


def release_key(task: Task) -> str:
    """The key of the live release of a task."""
    return f"release:{task.slug}"


def evaluator_key(task: Task) -> str:
    """The key of the evaluator in force for a task."""
    return f"evaluator:{task.slug}"


def kind_of(key: str) -> str:
    """`release`, `evaluator`, `policy` or `roster`. Raises BadInput for a key that is none of them."""
    kind, _, slug = key.partition(":")
    if (kind in {"release", "evaluator"} and slug) or key in {POLICY_KEY, ROSTER_KEY}:
        return kind
    raise BadInput(f"{key!r} is no pointer; keys are release:<task>, evaluator:<task>, policy and roster.")


def task_of(key: str) -> Task | None:
    """The task a key belongs to (None for policy and roster). Raises BadInput when that task is not installed."""
    if kind_of(key) in {"policy", "roster"}:
        return None
    slug = key.partition(":")[2]
    task = Task.objects.filter(slug=slug).first()
    if task is None:
        raise BadInput(f"Task {slug!r} is not installed; `manage.py install_task` installs one.")
    return task


def current(key: str) -> Pointer | None:
    """The pointer of this key, or None when nothing was ever installed there."""
    return Pointer.objects.filter(key=key).first()


def current_digest(key: str) -> str:
    """The digest in force under this key, or the empty string."""
    return Pointer.objects.filter(key=key).values_list("digest", flat=True).first() or ""


def live_release(task: Task) -> Release:
    """The live release of a task. Raises BadInput when none was installed."""
    release = (
        Release.objects.select_related("harness", "adapter", "task")
        .filter(digest=current_digest(release_key(task)))
        .first()
    )
    if release is None:
        raise BadInput(f"Task {task.slug!r} has no live release; install its seed harness first.")
    return release


def evaluator_in_force(task: Task) -> Version:
    """The evaluator version in force for a task. Raises BadInput when none was installed."""
    version = Version.objects.filter(
        kind=Version.Kind.EVALUATOR, task=task, digest=current_digest(evaluator_key(task))
    ).first()
    if version is None:
        raise BadInput(f"Task {task.slug!r} has no evaluator in force; install the task first.")
    return version
