"""Interleavings: each a world of its own, known by one whole number, gone when it ends.

`manage.py bench core` runs them by the thousand, in processes of their own.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from django.db import transaction

from governance.assurance.verify import live_differences
from governance.audit.signer import KEY_FILE
from governance.models import Person, PointerMove, Proposal, RoleGrant
from tests.governance.proof.clock import Clock
from tests.governance.proof.deciding import Deciding
from tests.governance.proof.oracle import EPOCH, Ask, Oracle, Verdict
from tests.governance.proof.stage import STRICT, Stage, make_stage
from tests.governance.proof.world import Broken, expect

ACTS = 20


def interleave(stage: Stage, keys: Path, seed: int, acts: int = ACTS) -> Counter[str]:
    """Do `acts` random acts from this seed on the stage; what was done, counted. The stage is as before afterwards.

    Raises Broken, with the seed and every act, at the first guard that does not hold.
    """
    clock = Clock()
    with clock.rules(), rolled_back(keys):
        driver = Deciding(replace(stage, builds=dict(stage.builds)), _oracle(stage, clock), clock, keys, seed)
        driver.oracle.builds = driver.stage.builds
        try:
            driver.watch.begin(driver.oracle)
            for _ in range(acts):
                driver.step()
            if driver.oracle.signer:
                closed = [f"Row {pk} of governance_person" for pk in _closed(driver.oracle)]
                found = [line.partition(" is not as entry")[0] for line in live_differences()]
                expect("the log against the live tables", sorted(found), sorted(closed))
        except Exception as error:
            told = "\n  ".join(driver.trace)
            raise Broken(f"interleaving {seed}, after these acts:\n  {told}\n{error!r}") from error
    return driver.tally


def _closed(oracle: Oracle) -> list[int]:
    """The people whose accounts were closed behind the log's back, which the live check must name."""
    return list(Person.objects.filter(ref__in=oracle.inactive).values_list("pk", flat=True))


def _oracle(stage: Stage, clock: Clock) -> Oracle:
    """The world as the set-up left it: the one thing that the oracle is told by the tables."""
    oracle = Oracle(clock.now, STRICT, ())
    for ref, role, by, at in RoleGrant.objects.values_list("person__ref", "role", "granted_by", "granted_at"):
        oracle.roles[ref, role] = EPOCH if by == "setup" else at
    oracle.people = {person.ref for person in stage.people.values()}
    for move in PointerMove.objects.order_by("key", "generation"):
        oracle.point(move.key, move.digest)
    oracle.policies[oracle.live["policy"][0]] = STRICT
    for row in Proposal.objects.all():
        ask = Ask(
            row.ref, row.kind, row.key, "", row.target, row.base, row.proposed_by, frozenset(row.excluded)
        )
        ask.status, ask.lane, ask.expires = row.status, row.lane, row.expires_at or EPOCH
        ask.verdicts = [
            Verdict(given.person.ref, given.verdict, given.created_at, given.expires_at, True)
            for given in row.reviews.select_related("person")
        ]
        oracle.asks[row.ref] = ask
    return oracle


@contextmanager
def rolled_back(keys: Path) -> Iterator[None]:
    """A transaction that is undone at the end and that, like a test case's, does not count as one."""
    block = transaction.atomic()
    block._from_testcase = True  # type: ignore[attr-defined]
    try:
        with block:
            yield
            transaction.set_rollback(True)
    finally:
        if (keys / "away").exists():
            (keys / "away").rename(keys / KEY_FILE)


def main(first: int, count: int) -> None:
    """Interleavings `first`, `first` + 1, ... in this process's data home: one line of JSON each, or what broke."""
    from deploy.prepare import prepare

    prepare()
    stage, keys = make_stage(), Path(os.environ["PAWL_HOME"]) / "keys"
    gc.freeze()
    gc.set_threshold(100_000)
    for seed in range(first, first + count):
        try:
            print(json.dumps(interleave(stage, keys, seed)), flush=True)
        except Broken as broken:
            print(broken, flush=True)
            sys.exit(1)
