"""Preflights of installed tasks: carried out, kept, and asked for when a campaign starts."""

from __future__ import annotations

import time
import uuid

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from governance import actions
from governance.actors import Actor
from governance.audit.log import Facts
from governance.digests import json_digest
from governance.models import PointerMove, Release, Task
from governance.pointers import release_key
from governance.rules import check_may_install
from loop import hidden_store
from loop.catalog import DEFAULT_SPLIT
from loop.errors import TaskError
from loop.installed import InstalledTask, gateway_limits, open_task, runtime_by, upstream_of
from loop.models import Preflight
from loop.preflight import Check, is_green
from loop.preflight_hidden import hidden_half
from loop.preflight_run import Say, Stand, public_checks
from loop.sandbox import get_backend

ANSWER_S = 300.0
POLL_S = 0.5


def digests_of(task: InstalledTask) -> dict[str, str]:
    """What a preflight is about, by digest; the sandbox by its backend's name. Raises SandboxError without one."""
    seed = seed_of(task)
    return {
        "task": task.row.spec_digest,
        "evaluator": task.evaluator.digest,
        "harness": seed.harness.digest,
        "runtime": seed.binding["runtime"],
        "base_model": seed.binding["base_model"],
        "sandbox": get_backend().name,
    }


def seed_of(task: InstalledTask) -> Release:
    """The release that the task was installed with."""
    first = PointerMove.objects.get(key=release_key(task.row), generation=0)
    return Release.objects.get(digest=first.digest)


def latest(task: InstalledTask) -> Preflight | None:
    """The last finished preflight of exactly what is installed and in force now."""
    rows = Preflight.objects.filter(
        task=task.row, digest=json_digest(digests_of(task)), finished_at__isnull=False
    )
    return rows.order_by("-pk").first()


def green_preflight(task: InstalledTask) -> Preflight:
    """The preflight that a campaign may rest on. Raises TaskError, with the command to run, when there is none."""
    row, slug = latest(task), task.row.slug
    command = f"python3 manage.py preflight {slug} --as OPERATOR"
    if row is None:
        raise TaskError(
            f"No campaign starts on {slug} without a preflight of what is installed; run: {command}"
        )
    if not row.green:
        failed = ", ".join(check["name"] for check in row.checks if not check["passed"])
        raise TaskError(
            f"No campaign starts on {slug}: its last preflight was red ({failed}); correct that, then run: {command}"
        )
    return row


def hold_preflight(row: Task, by: Actor, say: Say) -> Preflight:
    """The green preflight of what is installed, made first where there is none. Raises TaskError for a red one."""
    task = open_task(row)
    known = latest(task)
    if known is None or not known.green:
        carry_out(task, by, say)
    return green_preflight(task)


def carry_out(task: InstalledTask, by: Actor, say: Say) -> Preflight:
    """Run every check, keep the result and log it. `say` is told each check as it is made.

    Raises NotAllowed unless an operator or the set-up acts, TaskError where the task cannot be examined at all.
    """
    check_may_install(by)
    digests = digests_of(task)
    row = Preflight.objects.create(
        ref=str(uuid.uuid4()), task=task.row, digests=digests, digest=json_digest(digests), run_by=by.ref
    )
    checks = public_checks(stand_of(task), say)
    for check in _hidden_checks(task, row):
        checks.append(check)
        say(check)
    return _finish(row, checks, by)


def stand_of(task: InstalledTask) -> Stand:
    """The installed task, ready to run submissions on public-val with the base model."""
    seed = seed_of(task)
    return Stand(
        task=task.spec,
        inputs=task.inputs,
        evaluation=task.evaluation(DEFAULT_SPLIT),
        runtime=runtime_by(seed.binding["runtime"]),
        upstream=upstream_of(seed),
        gateway_limits=gateway_limits(task),
    )


def _hidden_checks(task: InstalledTask, row: Preflight) -> list[Check]:
    """The verifier's half: here where this account sees the hidden set, else by the verify worker."""
    if "hidden" not in task.spec.splits:
        return []
    if not settings.REDIS_URL or hidden_store.holds(task.evaluator.manifest["hidden_commitment"]):
        hidden_half(row.pk)
    else:
        from loop.jobs import VERIFY, put  # which imports campaigns, and those import this module

        put(VERIFY, "preflight_hidden", row.pk)
    deadline = time.monotonic() + ANSWER_S
    while time.monotonic() < deadline:
        row.refresh_from_db()
        if row.hidden is not None:
            return [Check(**check) for check in row.hidden]
        time.sleep(POLL_S)
    waited = f"the verify worker gave no answer within {ANSWER_S:.0f} s; is one running?"
    return [Check("hidden set", "as committed", waited, False, ANSWER_S)]


def _finish(row: Preflight, checks: list[Check], by: Actor) -> Preflight:
    row.checks = [check.as_json() for check in checks]
    row.green = is_green(checks)
    row.finished_at = timezone.now()
    failed = [check.name for check in checks if not check.passed]
    with transaction.atomic():
        row.save(update_fields=["checks", "green", "finished_at"])
        actions.note_event(
            by=by,
            action="preflight.finish",
            subject=("task", row.task.slug),
            facts=Facts(
                outcome="allowed" if row.green else "failed",
                task=row.task.slug,
                subject_digest=row.digest,
                detail={
                    "preflight": row.ref,
                    "digests": row.digests,
                    "checks": len(checks),
                    "failed": failed,
                },
            ),
        )
    return row
