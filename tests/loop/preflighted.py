"""A green preflight for tests of other things, without running one: the real one is tested in test_preflight.py."""

from __future__ import annotations

import uuid

from django.utils import timezone

from governance.actors import Actor
from governance.digests import json_digest
from governance.models import Task
from loop.installed import open_task
from loop.models import Preflight
from loop.preflights import digests_of


def hold_green(task: Task, by: Actor) -> Preflight:
    """A green row for what is installed and in force now."""
    digests = digests_of(open_task(task))
    return Preflight.objects.create(
        ref=str(uuid.uuid4()),
        task=task,
        digests=digests,
        digest=json_digest(digests),
        green=True,
        checks=[{"name": "held", "expected": "", "found": "", "passed": True, "seconds": 0.0}],
        run_by=by.ref,
        finished_at=timezone.now(),
    )
