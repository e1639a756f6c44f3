"""Serving what is live: the git branch `live` of each task follows the pointer that people move.

It never follows the database alone: a release is served when the signed log's receipt shows that the pointer was
moved to it, and when its parts, down to the bytes of the harness, give the digest that people approved.
"""

from __future__ import annotations

import structlog

from governance.actions import note_event
from governance.actors import LOOP
from governance.assurance.receipt import ReceiptInvalid, check_receipt
from governance.assurance.receipts import make_receipt
from governance.audit.checkpoints import get_signer
from governance.audit.log import Facts
from governance.errors import GovernanceError
from governance.models import AuditEntry, Pointer, Release, Task
from governance.pointers import release_key
from governance.subjects import release_digest
from loop.errors import HarnessError
from loop.installation import repo_of
from loop.repos import HarnessRepo, digest_of

REFUSED = "release.refused"
_log = structlog.get_logger(__name__)


def follow_live() -> list[str]:
    """Move each task's branch `live` to the harness of its live release; returns the tasks that moved.

    A release without a valid receipt is not served: the branch stays where it is, and the refusal is an entry.
    """
    moved = []
    for task in Task.objects.order_by("slug"):
        pointer = Pointer.objects.filter(key=release_key(task)).first()
        if pointer is not None and _follow(task, pointer):
            moved.append(task.slug)
    return moved


def _follow(task: Task, pointer: Pointer) -> bool:
    repo = repo_of(task)
    before = repo.live()
    try:
        release = Release.objects.select_related("task", "harness", "adapter").get(digest=pointer.digest)
        commit = release.harness.manifest["commit"]
        if commit == before:
            return False
        check_servable(release, pointer, repo, commit)
    except (GovernanceError, HarnessError, Release.DoesNotExist, KeyError) as refusal:
        _refuse(task, pointer, str(refusal))
        return False
    repo.move_live(commit, before)
    return True


def check_servable(release: Release, pointer: Pointer, repo: HarnessRepo, commit: str) -> None:
    """Raises ReceiptInvalid unless the log, signed, made exactly this release live; AuditError without a signer."""
    moved = check_receipt(make_receipt(pointer.key), [get_signer().key()], pointer.key, pointer.digest)
    if moved.generation != pointer.generation:
        raise ReceiptInvalid(
            f"The pointer is at generation {pointer.generation}, the log's last move at {moved.generation}."
        )
    if release_digest(release) != pointer.digest:
        raise ReceiptInvalid(f"The parts of release {pointer.digest[:12]} do not give its digest.")
    if digest_of(repo.read(commit)) != release.harness.digest:
        raise ReceiptInvalid(f"Commit {commit[:12]} does not hold the harness {release.harness.digest[:12]}.")


def _refuse(task: Task, pointer: Pointer, why: str) -> None:
    """Record the refusal, once for each reason."""
    last = AuditEntry.objects.filter(action=REFUSED, object_id=pointer.key).order_by("-seq").first()
    if last is not None and last.entry()["reason"] == why:
        return
    _log.error("live release refused", task=task.slug, release=pointer.digest[:12], why=why)
    facts = Facts(outcome="denied", after=pointer.digest, reason=why, task=task.slug)
    note_event(by=LOOP, action=REFUSED, subject=("pointer", pointer.key), facts=facts)
