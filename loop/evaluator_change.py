"""A changed evaluator as a proposal: its code goes to the artifact store, labels and hidden set stay as they are."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from governance.actors import Actor
from governance.digests import read_tree
from governance.models import Proposal, Task
from governance.pointers import evaluator_in_force
from governance.submitting import EvaluatorChange, submit_evaluator
from loop.installation import ARTIFACTS, store
from loop.runtimes import ensure_runtime


def propose_evaluator(task: Task, folder: Path, summary: str, by: Actor) -> Proposal:
    """Propose the evaluator in `folder` in place of the one in force.

    Raises BadInput when the folder holds no evaluator, TaskError when its runtime cannot be built.
    """
    old = evaluator_in_force(task)
    lock = folder / "requirements.txt"
    runtime = ensure_runtime(lock if lock.is_file() else None, Path(settings.PAWL_HOME) / "runtimes")
    manifest = {**old.manifest, "code": store(ARTIFACTS).put(folder), "runtime": runtime.digest}
    before = read_tree(store(ARTIFACTS).path(old.manifest["code"]))
    change = EvaluatorChange(manifest, before, read_tree(folder))
    return submit_evaluator(task=task, change=change, summary=summary, by=by)
