"""The verifier's half of a preflight: the hidden set is there, apart from the public splits, and can be scored.

What comes out is whether, never what: no row, no id and no score.
"""

from __future__ import annotations

from governance.actors import VERIFIER
from governance.audit.log import Facts
from loop.catalog import PUBLIC_SPLITS
from loop.errors import LoopError
from loop.hidden import HiddenSet, Reading, open_hidden
from loop.installed import InstalledTask, evaluation_of, gateway_limits, open_task, runtime_by
from loop.models import Preflight
from loop.preflight import HONEST, Check, needed
from loop.preflight_run import Clock, rows_of
from loop.rollout import RolloutRequest, run_rollout
from loop.scratch import scratch


def hidden_half(pk: int) -> None:
    """Make the hidden checks of one preflight and keep them on its row."""
    row = Preflight.objects.select_related("task").get(pk=pk)
    checks = _checks(open_task(row.task), row)
    Preflight.objects.filter(pk=pk).update(hidden=[check.as_json() for check in checks])


def _checks(task: InstalledTask, row: Preflight) -> list[Check]:
    clock = Clock()
    facts = Facts(task=row.task.slug, subject_digest=row.digest, detail={"preflight": row.ref})
    reading = Reading(row.ref, VERIFIER, ("task", row.task.slug), facts)
    try:
        with open_hidden(task.evaluator, task.spec.inputs_file, reading) as hidden:
            there = clock.on(_there(task, hidden))
            apart = _apart(task, hidden)
            clock = Clock()
            return [there, apart, clock.on(_scored(task, hidden))]
    except LoopError as error:
        return [clock.on(Check("hidden set", "as committed", str(error), False))]


def _there(task: InstalledTask, hidden: HiddenSet) -> Check:
    size = task.spec.splits["hidden"]
    counted = len(set(hidden.ids) - hidden.canaries)
    return Check(
        "hidden set", f"as committed, {size} items", f"as committed, {counted} items", counted == size
    )


def _apart(task: InstalledTask, hidden: HiddenSet) -> Check:
    file = task.spec.inputs_file
    ours = [text for _, text in rows_of(hidden.inputs, file) if text]
    public = {
        text
        for split in PUBLIC_SPLITS
        if split in task.spec.splits
        for _, text in rows_of(task.inputs(split), file)
    }
    shared = sum(text in public for text in ours)
    return Check("hidden apart", "no row is public", f"{shared} rows are public", shared == 0)


def _scored(task: InstalledTask, hidden: HiddenSet) -> Check:
    """A submission that answers without looking is scored on the hidden labels; its score stays here."""
    name = needed(task.spec).blind[0]
    with scratch("rollout", hidden.scratch) as workdir:
        report = run_rollout(
            RolloutRequest(
                task=task.spec,
                harness=task.spec.tests / HONEST / name,
                inputs=hidden.inputs,
                runtime=runtime_by(task.row.spec["binding"]["runtime"]),
                workdir=workdir,
                evaluation=evaluation_of(task.spec, task.evaluator, hidden.labels, hidden.ids),
                gateway_limits=gateway_limits(task),
            )
        )
    found = "a score" if report.score is not None else "no score"
    return Check("hidden scored", "a score", found, report.score is not None)
