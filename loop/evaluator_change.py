"""A changed evaluator as a proposal: new code over the same labels and hidden set, or a version already registered.

The second is how fresh hidden data come into force: `install_task` with the new data registers the version, and people
decide about it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from governance.actors import Actor
from governance.diffs import Tree
from governance.digests import read_tree
from governance.models import Proposal, Task, Version
from governance.pointers import evaluator_in_force
from governance.rules import check_may_propose
from governance.submitting import EvaluatorChange, begin_evaluator, check_evaluator, finish_evaluator
from governance.transitions import Status
from loop.errors import TaskError
from loop.installation import ARTIFACTS, store
from loop.installed import open_task
from loop.models import EvaluatorCheck
from loop.rescoring import rescore
from loop.runtimes import ensure_runtime


def propose_evaluator(task: Task, folder: Path, summary: str, by: Actor) -> Proposal:
    """Propose the evaluator in `folder` in place of the one in force.

    The live release is scored by both: here on public-val, then by the verifier on the hidden set. Raises BadInput when
    the folder holds no evaluator, TaskError when its runtime cannot be built or the live release gives no outputs,
    SandboxError when there is no sandbox.
    """
    check_may_propose(by)
    after = read_tree(folder)
    check_evaluator(after)
    old = evaluator_in_force(task)
    lock = folder / "requirements.txt"
    runtime = ensure_runtime(lock if lock.is_file() else None, Path(settings.PAWL_HOME) / "runtimes")
    manifest = {**old.manifest, "code": store(ARTIFACTS).put(folder), "runtime": runtime.digest}
    return _propose(task, manifest, summary, by)


def propose_registered(task: Task, digest: str, summary: str, by: Actor) -> Proposal:
    """Propose a registered evaluator version, known by the beginning of its digest, in place of the one in force.

    The diff shows its code and, as the file DATA, which labels and hidden set it stands on. Raises TaskError when the
    beginning names no single version, or the one in force; like propose_evaluator where the release cannot be scored.
    """
    check_may_propose(by)
    old = evaluator_in_force(task)
    versions = list(Version.objects.filter(kind=Version.Kind.EVALUATOR, task=task).order_by("created_at"))
    found = [version for version in versions if version.digest.startswith(digest) and version != old]
    if len(found) != 1:
        known = ", ".join(f"{each.digest[:12]}{' (in force)' if each == old else ''}" for each in versions)
        raise TaskError(
            f"{digest!r} is not the beginning of one evaluator version of {task.slug} that is not in force; "
            f"registered are {known}. Install the task's folder with its new data to register another."
        )
    return _propose(task, found[0].manifest, summary, by)


def _propose(task: Task, manifest: Mapping[str, Any], summary: str, by: Actor) -> Proposal:
    """Open the proposal; one that cannot score the live release on public-val fails before hidden data are opened."""
    old = evaluator_in_force(task)
    rescored = rescore(open_task(task), manifest)
    code = read_tree(store(ARTIFACTS).path(manifest["code"]))
    with transaction.atomic():
        proposal = begin_evaluator(task=task, manifest=manifest, code=code, summary=summary, by=by)
        if proposal.status != Status.VERIFYING:
            return proposal
        assert proposal.version is not None
        change = EvaluatorChange(*shown_change(old, proposal.version), rescored, None)
        if change.failure():
            return finish_evaluator(proposal=proposal, change=change)
        EvaluatorCheck.objects.get_or_create(proposal=proposal, defaults={"rescored": rescored})
    return proposal


def shown_change(old: Version, new: Version) -> tuple[Tree, Tree]:
    """The code before and after; with what it stands on, as the file DATA, where labels or hidden set differ."""
    data = ("labels", "hidden_commitment")
    apart = any(old.manifest[name] != new.manifest[name] for name in data)
    before, after = (_shown(each.manifest, data=apart) for each in (old, new))
    return before, after


def _shown(manifest: Mapping[str, Any], *, data: bool) -> Tree:
    code = read_tree(store(ARTIFACTS).path(manifest["code"]))
    stands_on = f"labels {manifest['labels']}\nhidden set {manifest['hidden_commitment']}\n"
    return {**code, "DATA": ("file", stands_on.encode())} if data else code
