"""Storms: people who act at the same moment, each on a connection of their own, and no oracle says who comes first.

Whatever came first, the log must have no gap, its replay must find every rule kept, the pointers must be where it says,
and every governed row must be as its entries left it. `python -m tests.governance.proof.storms FIRST COUNT`
runs them on a private PostgreSQL, one after the other on the same instance.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from governance.models import Proposal
    from tests.governance.proof.stage import Stage

THREADS, ACTS = 4, 10
CHANCES = {
    "propose": 4, "review": 10, "promote": 8, "revert": 2, "withdraw": 1, "hold": 1, "lift": 4, "stop": 1, "resume": 8,
    "acknowledge": 3, "break_glass": 1, "expire": 1,
}  # fmt: skip


class Person:
    """One thread's dice and what it does with them. Every method is one act, or None where there is nothing to do."""

    def __init__(self, stage: Stage, seed: str) -> None:
        """The stage is shared, the dice are this thread's own."""
        self.stage, self.dice, self.seed = stage, random.Random(seed), seed

    def act(self) -> str:
        """Do one random act; what it was and how it ended. What is refused is told, what breaks is raised."""
        from governance.errors import GovernanceError

        do: Callable[[], object] | None = None
        while do is None:
            name = self.dice.choices(list(CHANCES), list(CHANCES.values()))[0]
            do = getattr(self, name)()
        try:
            do()
        except GovernanceError:
            return f"{name} refused"
        return f"{name} done"

    def _by(self) -> Any:
        return self.dice.choice(list(self.stage.people.values())).actor("session")

    def _operator(self) -> Any:
        return self.stage.people[self.dice.choice(("orla", "omar", "otto", "rosa"))].actor("session")

    def _proposal(self, **condition: Any) -> Proposal | None:
        from governance.models import Proposal

        found = list(Proposal.objects.filter(**condition).order_by("-pk")[:4])
        return self.dice.choice(found) if found else None

    def propose(self) -> Callable[[], object]:
        """A release made from the live one, verified at once."""
        from governance import actions
        from governance.actors import LOOP, VERIFIER
        from governance.pointers import current_digest
        from tests.governance.cast import evidence
        from tests.governance.proof.stage import build_release, harness_tree

        def do() -> None:
            task, live = self.stage.tasks["digits"], self.stage.builds[current_digest("release:digits")]
            main, settings = self.dice.randint(1, 3), self.dice.randint(1, 9)
            release = build_release(self.stage, "digits", (main, settings, live.adapter), None)
            draft = actions.ProposalDraft("promote", task, release, None, "Better", self.seed)
            proposal = actions.open_proposal(draft=draft, by=LOOP)
            proposal = actions.begin_verification(proposal=proposal, by=VERIFIER)
            items = evidence(harness_tree(live.main, live.settings), harness_tree(main, settings))
            actions.finish_verification(
                proposal=proposal, passed=True, reason="Measured.", evidence=items, by=VERIFIER
            )

        return do

    def review(self) -> Callable[[], object] | None:
        """A verdict, mostly a yes."""
        from governance import actions
        from tests.governance.cast import REASON

        proposal = self._proposal(status__in=["ready", "in_review"])
        verdict = self.dice.choice(("approve",) * 9 + ("reject",))
        by = self._by()
        return (
            None
            if proposal is None
            else (
                lambda: actions.review(
                    proposal=proposal,
                    verdict=verdict,
                    reason=REASON,
                    subject_digest=proposal.subject_digest,
                    by=by,
                )
            )
        )

    def promote(self) -> Callable[[], object] | None:
        """A promotion."""
        from governance import actions
        from tests.governance.cast import REASON

        proposal, by = self._proposal(status="approved"), self._operator()
        return (
            None if proposal is None else (lambda: actions.promote(proposal=proposal, reason=REASON, by=by))
        )

    def revert(self) -> Callable[[], object]:
        """Back to a former live release."""
        from governance import actions
        from governance.models import PointerMove
        from tests.governance.cast import REASON

        moves = PointerMove.objects.filter(key="release:digits").values_list("digest", flat=True)
        digest, by = self.dice.choice(list(moves)), self._operator()
        return lambda: actions.revert(key="release:digits", to_digest=digest, reason=REASON, by=by)

    def withdraw(self) -> Callable[[], object] | None:
        """A proposal taken back."""
        from governance import actions
        from tests.governance.cast import REASON

        proposal, by = self._proposal(status__in=["ready", "in_review", "approved"]), self._operator()
        return (
            None if proposal is None else (lambda: actions.withdraw(proposal=proposal, reason=REASON, by=by))
        )

    def hold(self) -> Callable[[], object] | None:
        """A hold of what somebody proposes."""
        from governance import actions
        from tests.governance.cast import REASON

        proposal, by = self._proposal(kind="promote"), self._operator()
        return (
            None if proposal is None else (lambda: actions.hold(digest=proposal.target, reason=REASON, by=by))
        )

    def lift(self) -> Callable[[], object] | None:
        """One person asks to lift a hold."""
        from governance import actions
        from governance.models import Hold
        from tests.governance.cast import REASON

        held, by = Hold.objects.filter(lifted_at=None).first(), self._operator()
        return None if held is None else (lambda: actions.lift_hold(digest=held.digest, reason=REASON, by=by))

    def stop(self) -> Callable[[], object]:
        """Everything stops."""
        from governance import actions
        from tests.governance.cast import REASON

        by = self._by()
        return lambda: actions.stop(scope="digits", reason=REASON, by=by)

    def resume(self) -> Callable[[], object] | None:
        """One person asks to resume."""
        from governance import actions
        from governance.models import Halt
        from tests.governance.cast import REASON

        halt, by = Halt.objects.filter(resumed_at=None).first(), self._operator()
        return None if halt is None else (lambda: actions.resume(scope=halt.scope, reason=REASON, by=by))

    def acknowledge(self) -> Callable[[], object] | None:
        """A review afterwards."""
        from governance import actions
        from tests.governance.cast import REASON

        proposal, by = self._proposal(review_due=True), self._by()
        return (
            None
            if proposal is None
            else (lambda: actions.acknowledge(proposal=proposal, reason=REASON, by=by))
        )

    def break_glass(self) -> Callable[[], object]:
        """Any release at once."""
        from governance import actions
        from governance.models import Release
        from tests.governance.proof.proposing import WHY

        release, by = self.dice.choice(list(Release.objects.filter(task__slug="digits"))), self._operator()
        return lambda: actions.break_glass(release=release, reason=WHY, by=by)

    def expire(self) -> Callable[[], object]:
        """What is due; nothing is, but every open proposal is locked."""
        from django.utils import timezone

        from governance import actions

        return lambda: actions.expire_due(now=timezone.now())


def storm(stage: Stage, seed: int, threads: int = THREADS, acts: int = ACTS) -> Counter[str]:
    """Let so many people do so many acts each at the same time; what was done, counted.

    Raises AssertionError when the log, the rows and the pointers do not agree afterwards, and whatever an act raised
    that is no refusal.
    """
    from django.db import connection

    tally: Counter[str] = Counter()
    broken: list[BaseException] = []
    start = threading.Barrier(threads)

    def run(place: int) -> None:
        person = Person(stage, f"{seed} {place}")
        try:
            connection.ensure_connection()
            start.wait(60)
            for _ in range(acts):
                tally[person.act()] += 1
        except BaseException as error:
            broken.append(error)
        finally:
            connection.close()

    running = [threading.Thread(target=run, args=(place,)) for place in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if broken:
        raise broken[0]
    check_agreement()
    return tally


def check_agreement() -> None:
    """Log, replay, pointers and rows say the same."""
    from governance.assurance.verify import live_differences
    from governance.models import AuditEntry, AuditHead, PointerMove

    numbers = list(AuditEntry.objects.order_by("seq").values_list("seq", flat=True))
    assert numbers == list(range(AuditHead.objects.get(pk=1).size)), "the log has gaps"
    for before, after in pairwise(PointerMove.objects.order_by("key", "generation")):
        assert before.key != after.key or before.digest == after.previous, "a move from elsewhere"
    assert live_differences() == []


def main(first: int, count: int) -> None:
    """Storms `first`, `first` + 1, ... on a private PostgreSQL: one line of JSON each."""
    from tests.postgres import start_cluster

    with tempfile.TemporaryDirectory(prefix="pawl-storms-") as home:
        os.environ.update(PAWL_HOME=home, DATABASE_URL=start_cluster())
        os.environ["DJANGO_SETTINGS_MODULE"] = "deploy.settings"
        import django

        django.setup()
        from deploy.prepare import prepare
        from tests.governance.proof.clock import Clock
        from tests.governance.proof.stage import make_stage

        prepare()
        stage = make_stage()
        with Clock().rules():
            for seed in range(first, first + count):
                print(json.dumps(storm(stage, seed)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
