"""Random decisions: verification, verdicts, promotions, reverts, holds, stops, and what the clock does."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth import get_user_model

from governance import actions
from governance.actors import CLOCK, LOOP, VERIFIER, Actor
from governance.audit.signer import KEY_FILE
from governance.models import Proposal
from tests.governance.cast import REASON, evidence
from tests.governance.proof.acts import Try, who
from tests.governance.proof.oracle import OPEN, OPERATOR, OWNER, REVIEWER, Ask
from tests.governance.proof.oracle import Actor as Who
from tests.governance.proof.proposing import Proposing
from tests.governance.proof.stage import harness_tree

VERDICTS = (*["approve"] * 8, "reject", "request_changes")
WORKING = (REVIEWER, OPERATOR, OWNER)
CLOCK_ACTS = ("expire", "take_back", "refresh", "promote_due")


def nothing() -> None:
    """What an act that changes nothing leaves."""


def row(ask: Ask) -> Proposal:
    """The proposal as the service has it."""
    return Proposal.objects.get(ref=ask.ref)


class Deciding(Proposing):
    """Every act that there is."""

    chances: ClassVar[dict[str, int]] = {
        "propose": 16, "begin": 4, "finish": 4, "review": 10, "promote": 8, "pass_time": 4, "upkeep": 6,
        "change_policy": 2, "change_evaluator": 2, "change_roles": 3, "break_glass": 3, "revert": 8, "lineage": 1,
        "hold": 1, "lift": 6, "stop": 1, "resume": 20, "withdraw": 1, "acknowledge": 5, "signer": 1, "account": 1,
    }  # fmt: skip

    # --- verification ---

    def begin(self) -> Try | None:
        """A verification begins, or is begun again."""
        ask = self.ask("draft") if self.dice.random() < 0.8 else self.ask()
        if ask is None:
            return None
        by = LOOP if self.dice.random() < 0.8 else self.anybody()

        def then() -> None:
            ask.status = "verifying"

        return Try(
            "proposal.verify",
            by,
            by.kind != "human" and ask.status in {"draft", "verifying"},
            lambda: actions.begin_verification(proposal=row(ask), by=by),
            then,
        )

    def finish(self) -> Try | None:
        """A verification ends: passed, failed, or passed on no evidence at all."""
        ask = self.ask("verifying") if self.dice.random() < 0.8 else self.ask()
        if ask is None or ask.kind not in {"promote", "break_glass", "revert"}:
            return None
        by = VERIFIER if self.dice.random() < 0.8 else self.anybody()
        result = self.dice.choice(("passed", "passed", "passed", "passed", "failed", "empty"))
        old, new = (self.oracle.builds[digest] for digest in (ask.base, ask.target))
        items = evidence(harness_tree(old.main, old.settings), harness_tree(new.main, new.settings))

        def then() -> None:
            if result == "passed":
                self.oracle.becomes_ready(ask)
            else:
                ask.status = "failed"

        return Try(
            "proposal.finish_verification",
            by,
            by == VERIFIER and ask.status == "verifying",
            lambda: actions.finish_verification(
                proposal=row(ask),
                passed=result != "failed",
                reason="Measured.",
                evidence=[] if result == "empty" else items,
                by=by,
            ),
            then,
        )

    # --- decisions ---

    def review(self) -> Try | None:
        """A verdict, now and then on something else than what is there."""
        ask = self.ask("ready", "in_review") if self.dice.random() < 0.9 else self.ask()
        if ask is None:
            return None
        by = self.somebody(lambda actor: self.oracle.may_review(actor, ask), self.oracle.rules.role(ask.lane))
        verdict, proposal = self.dice.choice(VERDICTS), row(ask)
        shown = proposal.subject_digest if self.dice.random() < 0.95 else "0" * 64
        return Try(
            "proposal.review",
            by,
            self.oracle.may_review(who(by), ask) and shown == proposal.subject_digest,
            lambda: actions.review(
                proposal=proposal, verdict=verdict, reason=REASON, subject_digest=shown, by=by
            ),
            lambda: self.oracle.reviewed(who(by), ask, verdict),
        )

    def promote(self) -> Try | None:
        """A promotion."""
        ask = self.ask("approved") if self.dice.random() < 0.9 else self.ask()
        if ask is None:
            return None
        if self.dice.random() < 0.6 and self.oracle.counted(ask) and (back := self._cool(ask)):
            return back
        by = self.somebody(lambda actor: self.oracle.may_promote(actor, ask), OPERATOR, OWNER)
        if self.dice.random() < 0.15:
            by = CLOCK
        return Try(
            "pointer.move",
            by,
            self.oracle.may_promote(who(by), ask),
            lambda: actions.promote(proposal=row(ask), reason=REASON, by=by),
            lambda: self._promoted(ask),
        )

    def _promoted(self, ask: Ask) -> None:
        self.tally[f"live in lane {ask.lane}"] += 1
        self.oracle.promoted(ask)

    def _cool(self, ask: Ask) -> Try | None:
        """Wait for the lane's cooling-off time, as people would; as in `pass_time`, what is due goes back first."""
        if not self.oracle.overdue():
            self.clock.forward(hours=self.oracle.rules.cooling_off(ask.lane).total_seconds() / 3600)
            self.oracle.now = self.clock.now
        return self._take_back(CLOCK) if self.oracle.overdue() else None

    def acknowledge(self) -> Try | None:
        """A review afterwards."""
        due = [ask for ask in self.oracle.asks.values() if ask.review_due]
        if self.rarely(bool(due)):
            return None
        ask = self.dice.choice(due) if due else self.ask()
        if ask is None:
            return None
        by = self.somebody(lambda actor: self.oracle.may_acknowledge(actor, ask), REVIEWER)

        def then() -> None:
            ask.review_due, ask.reverts_at = False, None

        return Try(
            "proposal.acknowledge",
            by,
            self.oracle.may_acknowledge(who(by), ask),
            lambda: actions.acknowledge(proposal=row(ask), reason=REASON, by=by),
            then,
        )

    def withdraw(self) -> Try | None:
        """A proposal taken back."""
        ask = self.ask(*OPEN, "changes_requested")
        if ask is None:
            return None
        by = self.somebody(lambda actor: self.oracle.may_withdraw(actor, ask), OPERATOR, REVIEWER)

        def then() -> None:
            ask.status = "withdrawn"

        return Try(
            "proposal.withdraw",
            by,
            self.oracle.may_withdraw(who(by), ask),
            lambda: actions.withdraw(proposal=row(ask), reason=REASON, by=by),
            then,
        )

    # --- the way back ---

    def revert(self) -> Try | None:
        """Back to a release, mostly one that was live."""
        key = f"release:{self.slug()}"
        if self.rarely(len(self.oracle.former[key]) > 1):
            return None
        former = self.dice.random() < 0.9
        digest = self.dice.choice(self.oracle.former[key]) if former else self.any_digest()
        by = self.somebody(lambda actor: self.oracle.may(actor, OPERATOR), OPERATOR)
        return Try(
            "pointer.move",
            by,
            self.oracle.may_revert(who(by), key, digest),
            lambda: actions.revert(key=key, to_digest=digest, reason=REASON, by=by),
            lambda: self.oracle.reverted(who(by), key, digest),
        )

    def any_digest(self) -> str:
        """A release or something that it was made from."""
        build = self.oracle.builds[self.dice.choice(list(self.oracle.builds))]
        return self.dice.choice(sorted(build.ancestry))

    def lineage(self) -> Try:
        """Everything made from one digest taken back."""
        digest = self.any_digest()
        by = self.somebody(lambda actor: self.oracle.may(actor, OPERATOR), OPERATOR)
        ways = self.oracle.lineage(digest)
        possible = all(way is not None for _, way in ways) and (self.oracle.signer or not ways)

        def then() -> None:
            self.oracle.put_hold(digest, automatic=False)
            for key, way in ways:
                assert way is not None
                self.oracle.free(way)
                self.oracle.go_back(who(by), key, way)

        return Try(
            "lineage.revert",
            by,
            possible and self.oracle.may(who(by), OPERATOR),
            lambda: actions.revert_lineage(digest=digest, reason=REASON, by=by),
            then,
        )

    def hold(self) -> Try:
        """One person holds a digest: of a release, of a part of one, of an evaluator, of a policy."""
        live = [digest for digest, _ in self.oracle.live.values()]
        others = [ask.target for ask in self.oracle.asks.values()]
        digest = self.dice.choice((self.any_digest(), self.dice.choice(live), self.dice.choice(others)))
        by = self.somebody(lambda actor: self.oracle.may(actor, OPERATOR), OPERATOR)
        return Try(
            "hold",
            by,
            self.oracle.may(who(by), OPERATOR) and digest not in self.oracle.holds,
            lambda: actions.hold(digest=digest, reason=REASON, by=by),
            lambda: self.oracle.put_hold(digest, automatic=False),
        )

    def lift(self) -> Try | None:
        """One person asks to lift a hold."""
        holds = self.oracle.holds
        if self.rarely(bool(holds)):
            return None
        digest = self.dice.choice(sorted(holds)) if holds else self.any_digest()
        asked = holds[digest][1] if digest in holds else []

        def may(actor: Who) -> bool:
            return digest in holds and actor.ref not in asked and self.oracle.may(actor, OPERATOR)

        by = self.somebody(may, OPERATOR)

        def then() -> None:
            asked.append(by.ref)
            if len(asked) == 2:
                del holds[digest]

        return Try(
            "hold.lift",
            by,
            may(who(by)),
            lambda: actions.lift_hold(digest=digest, reason=REASON, by=by),
            then,
        )

    # --- the switch ---

    def stop(self) -> Try:
        """One person stops something."""
        scope = self.dice.choice(("", "digits", "letters"))
        by = self.somebody(lambda actor: self.oracle.may(actor, REVIEWER, OPERATOR, OWNER), *WORKING)
        able = self.oracle.may(who(by), REVIEWER, OPERATOR, OWNER)
        return Try(
            "stop",
            by,
            able and scope not in self.oracle.halts,
            lambda: actions.stop(scope=scope, reason=REASON, by=by),
            lambda: self.oracle.stopped(scope),
        )

    def resume(self) -> Try | None:
        """One person asks to resume."""
        halts = self.oracle.halts
        if self.rarely(bool(halts)):
            return None
        scope = self.dice.choice(sorted(halts)) if halts else ""

        def may(actor: Who) -> bool:
            return actor.ref not in halts.get(scope, [actor.ref]) and self.oracle.may(actor, OPERATOR, OWNER)

        by = self.somebody(may, OPERATOR, OWNER)

        def then() -> None:
            halts[scope].append(by.ref)
            if len(halts[scope]) == 2:
                del halts[scope]

        return Try(
            "resume", by, may(who(by)), lambda: actions.resume(scope=scope, reason=REASON, by=by), then
        )

    # --- the world outside ---

    def pass_time(self) -> Try | None:
        """Time passes: minutes, hours, days. An emergency that has ended is taken back before: the service's clock
        goes by the minute, and the replay of the log complains of more than ten."""
        if self.oracle.overdue():
            return self._take_back(CLOCK)
        self.clock.forward(hours=self.dice.choice((0.2, 0.2, 1, 1, 3, 3, 3, 25, 25, 49, 73, 337)))
        self.oracle.now = self.clock.now
        self.trace.append(f"now it is {self.clock.now}")
        return None

    def signer(self) -> None:
        """The log's key goes away, or comes back."""
        key, away = self.keys / KEY_FILE, self.keys / "away"
        if self.oracle.signer and self.dice.random() < 0.5:
            return
        key.rename(away) if self.oracle.signer else away.rename(key)
        self.oracle.signer = not self.oracle.signer
        self.trace.append(f"the signer works: {self.oracle.signer}")

    def account(self) -> None:
        """An account is closed, or opened again."""
        person = self.dice.choice(list(self.stage.people.values()))
        closed = person.ref not in self.oracle.inactive
        get_user_model().objects.filter(pk=person.user_id).update(is_active=not closed)
        self.oracle.inactive ^= {person.ref}
        self.trace.append(f"the account of {person.ref} is closed: {closed}")

    # --- the clock's acts ---

    def upkeep(self) -> Try | None:
        """One of the acts of time; only the clock may."""
        name = self.dice.choice(CLOCK_ACTS)
        if name == "promote_due":
            return self._promote_due()
        by = CLOCK if self.dice.random() < 0.8 else self.anybody()
        if name == "take_back":
            return self._take_back(by)
        acts = {
            "expire": (
                "proposal.expire_due",
                lambda: actions.expire_due(now=self.clock.now, by=by),
                self.oracle.expired,
            ),
            "refresh": ("proposal.refresh_stale", lambda: actions.refresh_stale(by=by), nothing),
        }
        action, do, then = acts[name]
        return Try(action, by, by == CLOCK, do, then)

    def _take_back(self, by: Actor) -> Try:
        """Emergencies that nobody reviewed in time go back."""
        due = self.oracle.overdue()

        def then() -> None:
            for ask in due:
                self.tally["taken back by the clock"] += 1
                self.oracle.go_back(who(by), ask.key, ask.base)

        return Try(
            "pointer.revert_due",
            by,
            by == CLOCK and (self.oracle.signer or not due),
            lambda: actions.revert_due(now=self.clock.now, by=by),
            then,
        )

    def _promote_due(self) -> Try | None:
        """What the policy lets go live without a person; one after the other, until the first refusal."""
        oracle = self.oracle
        due = [
            ask
            for ask in oracle.asks.values()
            if ask.status == "approved" and not oracle.rules.quorum[ask.lane]
        ]
        due.sort(key=lambda ask: row(ask).pk)
        clock = Who("system", CLOCK.ref)
        for ask in due:
            if ask.status != "approved":
                continue
            if not oracle.may_promote(clock, ask):
                break
            self._promoted(ask)
        else:
            return Try("pointer.move", CLOCK, True, actions.promote_due, nothing)
        return Try("pointer.move", CLOCK, False, actions.promote_due, nothing)


__all__ = ["Actor", "Deciding"]
