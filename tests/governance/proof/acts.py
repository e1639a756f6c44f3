"""One random act of somebody after another on the real service, each foretold by the oracle."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from governance.actors import CLOCK, LOOP, VERIFIER, Actor
from governance.errors import GovernanceError
from governance.models import Proposal
from tests.governance.proof.clock import Clock
from tests.governance.proof.oracle import Actor as Who
from tests.governance.proof.oracle import Ask, Oracle
from tests.governance.proof.stage import Stage
from tests.governance.proof.world import Broken, Watch

OTHERS = (LOOP, VERIFIER, CLOCK, Actor("agent", "feedback"), Actor("human", "p-stranger", "session"))
FOLLOWS = {
    "draft": "begin",
    "verifying": "finish",
    "ready": "review",
    "in_review": "review",
    "approved": "promote",
}
Do = Callable[[], object]


def who(by: Actor) -> Who:
    """The actor as the oracle knows them."""
    return Who(by.kind, by.ref, by.auth in {"session", "command"})


@dataclass(frozen=True)
class Try:
    """One act: its entry's action, who, whether it must succeed, the act, and what is true after it."""

    action: str
    by: Actor
    allowed: bool
    do: Do
    then: Do


class Acts:
    """One interleaving: the world, its oracle, and the dice. Subclasses bring the acts and how likely each is."""

    chances: ClassVar[dict[str, int]] = {}

    def __init__(self, stage: Stage, oracle: Oracle, clock: Clock, keys: Path, seed: int) -> None:
        """The world must be as the set-up left it; `keys` is the signer's folder."""
        self.stage, self.oracle, self.clock, self.keys = stage, oracle, clock, keys
        self.dice = random.Random(seed)
        self.watch = Watch()
        self.trace: list[str] = []
        self.tally: Counter[str] = Counter()
        self.done: object = None
        self.focus: Ask | None = None

    # --- dice ---

    def anybody(self) -> Actor:
        """A person, sometimes with a token alone, or a part of the service, or an agent, or a stranger."""
        if self.dice.random() < 0.2:
            return self.dice.choice(OTHERS)
        auth = self.dice.choice(("session", "command", "session", "token"))
        return self.dice.choice(list(self.stage.people.values())).actor(auth)

    def somebody(self, may: Callable[[Who], bool], *roles: str) -> Actor:
        """Mostly one who may, now and then one of the same role who may not or has not signed in, or anybody."""
        people = [person.actor("session") for person in self.stage.people.values()]
        able = [actor for actor in people if may(who(actor))]
        luck = self.dice.random()
        if able and luck < 0.75:
            return self.dice.choice(able)
        held = self.oracle.roles.keys()
        tempted = [by for by in people if by not in able and any((by.ref, role) in held for role in roles)]
        tempted += [replace(by, auth="token") for by in able[:1]]
        return self.dice.choice(tempted) if tempted and luck < 0.95 else self.anybody()

    def ask(self, *statuses: str) -> Ask | None:
        """One proposal in one of these statuses (any without), newer ones more often."""
        if self.focus is not None and self.focus.status in statuses:
            return self.focus
        found = [ask for ask in self.oracle.asks.values() if not statuses or ask.status in statuses]
        self.focus = self.dice.choice(found[-4:]) if found else None
        return self.focus

    def slug(self) -> str:
        """A task, mostly the same one."""
        return "letters" if self.dice.random() < 0.25 else "digits"

    def rarely(self, sensible: bool) -> bool:
        """Whether to leave an act alone: seldom tried where it makes no sense, always where it does."""
        return not sensible and self.dice.random() < 0.95

    # --- one act ---

    def step(self) -> None:
        """Do one act, foretold, and compare. Raises Broken where service and oracle differ."""
        attempt: Try | None = None
        while attempt is None:
            name = self._what_next()
            attempt = getattr(self, name)()
        self.attempt(name, attempt)

    def _what_next(self) -> str:
        """Mostly what the last proposal waits for, so that histories become long; else anything."""
        due = FOLLOWS.get(self.focus.status) if self.focus is not None else None
        if due is not None and self.dice.random() < 0.6:
            return due
        self.focus = None
        return self.dice.choices(list(self.chances), list(self.chances.values()))[0]

    def attempt(self, name: str, act: Try) -> None:
        """Carry it out; the error, if there is one, must be foretold, and so must its absence."""
        error: Exception | None = None
        line = f"{name} by {act.by.kind} {self._name(act.by)}"
        self.trace.append(f"{line}: {'must succeed' if act.allowed else 'must be refused'}")
        try:
            self.done = act.do()
        except GovernanceError as refusal:
            error = refusal
            self.trace[-1] += f" - {refusal}"
        if (error is None) != act.allowed:
            raise Broken(f"{line} {'was refused' if error else 'was let through'}")
        if error is None:
            act.then()
            self._name_reverts()
        self.tally[f"{name} {'refused' if error else 'done'}"] += 1
        self.watch.check(self.oracle, act.action, act.by.ref, error)

    def _name(self, by: Actor) -> str:
        names = {person.ref: name for name, person in self.stage.people.items()}
        return f"{names.get(by.ref, by.ref)} ({by.auth})"

    def _name_reverts(self) -> None:
        """The proposals of reverts get their refs from the service."""
        for place in [place for place, ask in self.oracle.asks.items() if ask.ref == "new"]:
            ask = self.oracle.asks.pop(place)
            known = self.oracle.asks.keys()
            rows = Proposal.objects.filter(kind="revert", key=ask.key, target=ask.target)
            ask.ref = rows.exclude(ref__in=known).get().ref
            self.oracle.asks[ask.ref] = ask
