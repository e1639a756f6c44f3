"""Finding rows by what people type: the first characters of a reference or of a digest."""

from __future__ import annotations

from typing import TypeVar

from django.db.models import Model, QuerySet

from governance.errors import BadInput
from governance.models import Proposal, Release, Task, Version

MIN_PREFIX = 4
Row = TypeVar("Row", bound=Model)


def proposal_by_ref(text: str) -> Proposal:
    """The one proposal whose reference begins with this text. Raises BadInput for none or several."""
    return _single(Proposal.objects.filter(ref__startswith=_prefix(text)), "proposal", text)


def release_by_digest(task: Task, text: str) -> Release:
    """The one release of the task whose digest begins with this text. Raises BadInput for none or several."""
    return _single(Release.objects.filter(task=task, digest__startswith=_prefix(text)), "release", text)


def release_by_prefix(text: str) -> Release:
    """The one release, of whatever task, whose digest begins with this text. Raises BadInput for none or several."""
    return _single(
        Release.objects.select_related("task").filter(digest__startswith=_prefix(text)), "release", text
    )


def digest_by_prefix(text: str) -> str:
    """The one digest of a release or version that begins with this text. Raises BadInput for none or several."""
    wanted = _prefix(text)
    found = {
        *Release.objects.filter(digest__startswith=wanted).values_list("digest", flat=True)[:2],
        *Version.objects.filter(digest__startswith=wanted).values_list("digest", flat=True)[:2],
    }
    if len(found) != 1:
        raise BadInput(f"{'No' if not found else 'More than one'} release or version begins with {text!r}.")
    return found.pop()


def task_by_slug(slug: str) -> Task:
    """The installed task of this name. Raises BadInput when there is none."""
    task = Task.objects.filter(slug=slug).first()
    if task is None:
        known = ", ".join(Task.objects.order_by("slug").values_list("slug", flat=True)) or "none yet"
        raise BadInput(f"Task {slug!r} is not installed (installed: {known}).")
    return task


def _prefix(text: str) -> str:
    wanted = text.strip().lower()
    if len(wanted) < MIN_PREFIX:
        raise BadInput(f"{text!r} is too short; give at least {MIN_PREFIX} characters.")
    return wanted


def _single(rows: QuerySet[Row], what: str, text: str) -> Row:
    found = list(rows[:2])
    if len(found) != 1:
        raise BadInput(f"{'No' if not found else 'More than one'} {what} begins with {text!r}.")
    return found[0]
