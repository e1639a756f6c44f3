"""Whether the tables, the log and its replay are what the oracle says, after each act."""

from __future__ import annotations

from typing import Any

from governance.assurance.judged_by import bytes_of
from governance.assurance.replay import Replay
from governance.errors import BadInput
from governance.models import (
    AuditEntry,
    AuditHead,
    Evidence,
    Halt,
    Hold,
    Pointer,
    PointerMove,
    Proposal,
    Review,
    RoleGrant,
)
from tests.governance.proof.oracle import EPOCH, Oracle

COUNTED = (PointerMove, Evidence)


class Broken(AssertionError):
    """A guard did not hold: what was seen is not what the oracle says."""


def expect(what: str, seen: object, meant: object) -> None:
    """Raises Broken unless both are equal."""
    if seen != meant:
        raise Broken(f"{what}: the service has {seen!r}, the oracle {meant!r}")


def picture(oracle: Oracle) -> dict[str, Any]:
    """The state that the oracle holds for true."""
    return {
        "pointers": dict(oracle.live),
        "proposals": {
            ask.ref: (ask.status, ask.review_due, ask.reverts_at, *([ask.lane] if ask.lane else []))
            for ask in oracle.asks.values()
        },
        "reviews": sorted(
            (ask.ref, given.ref, given.verdict, given.expires, given.used)
            for ask in oracle.asks.values()
            for given in ask.verdicts
        ),
        "roles": {grant: (since != EPOCH and since) or None for grant, since in oracle.roles.items()},
        "halts": {scope: list(asked) for scope, asked in oracle.halts.items()},
        "holds": {digest: (automatic, list(asked)) for digest, (automatic, asked) in oracle.holds.items()},
    }


def seen(oracle: Oracle) -> dict[str, Any]:
    """The same of the live tables. A lane counts once its proposal is ready."""
    laned = {ask.ref for ask in oracle.asks.values() if ask.lane}
    proposals = Proposal.objects.values_list("ref", "status", "review_due", "reverts_at", "lane")
    grants = RoleGrant.objects.values_list("person__ref", "role", "granted_by", "granted_at")
    return {
        "pointers": {
            key: (digest, at)
            for key, digest, at in Pointer.objects.values_list("key", "digest", "generation")
        },
        "proposals": {
            ref: (status, due, reverts, *([lane] if ref in laned else []))
            for ref, status, due, reverts, lane in proposals
        },
        "reviews": sorted(
            (ref, person, verdict, expires, used is not None)
            for ref, person, verdict, expires, used in Review.objects.values_list(
                "proposal__ref", "person__ref", "verdict", "expires_at", "consumed_at"
            )
        ),
        "roles": {(ref, role): None if by == "setup" else at for ref, role, by, at in grants},
        "halts": dict(Halt.objects.filter(resumed_at=None).values_list("scope", "resumed_by")),
        "holds": {
            digest: (automatic, asked)
            for digest, automatic, asked in Hold.objects.filter(lifted_at=None).values_list(
                "digest", "automatic", "lifted_by"
            )
        },
    }


class Watch:
    """Follows the log and the tables from act to act."""

    def __init__(self) -> None:
        """Begin after what the log holds now."""
        self.replay = Replay(bytes_of)
        self.size = 0
        self.tables: dict[str, Any] = {}
        self.counts = self._count()
        self._new_entries()

    def begin(self, oracle: Oracle) -> None:
        """Before the first act, service and oracle agree."""
        self.tables = seen(oracle)
        self.check(oracle, "", "", None)

    def check(self, oracle: Oracle, action: str, ref: str, error: Exception | None) -> None:
        """Hold everything against the oracle. `action` and `ref` of an act that was refused with `error`."""
        tables = seen(oracle)
        for part, meant in picture(oracle).items():
            expect(part, tables[part], meant)
        before, self.counts = self.counts, self._count()
        entries = self._new_entries()
        self._check_replay()
        replayed = {key: (past.live, past.generation) for key, past in self.replay.pointers.items()}
        expect("the replayed pointers", replayed, dict(oracle.live))
        told = [entry for entry in entries if not entry["action"].endswith(".register")]
        if error is not None:
            expect("rows after a refusal", self.counts, before)
            _check_refusal(told, action, ref, error)
        elif any(entry["outcome"] != "allowed" for entry in told):
            raise Broken(f"an act that succeeded left a refusal: {told}")
        elif (tables != self.tables or before != self.counts) and not told:
            raise Broken("rows changed without an entry")
        self.tables = tables

    def _new_entries(self) -> list[dict[str, Any]]:
        rows = list(AuditEntry.objects.filter(seq__gte=self.size).order_by("seq"))
        expect(
            "the numbers of the log", [row.seq for row in rows], list(range(self.size, self.size + len(rows)))
        )
        self.size += len(rows)
        expect("the log's head", AuditHead.objects.values_list("size", flat=True).get(pk=1), self.size)
        entries = [row.entry() for row in rows]
        for entry in entries:
            self.replay.feed(entry)
        return entries

    def _check_replay(self) -> None:
        if self.replay.broken:
            raise Broken(f"the replay of the log says: {self.replay.broken[0]}")
        expect("the moves in the log", self.replay.moves, self.counts[0])

    @staticmethod
    def _count() -> list[int]:
        return [model.objects.count() for model in COUNTED]


def _check_refusal(entries: list[dict[str, Any]], action: str, ref: str, error: Exception) -> None:
    """What was malformed leaves no entry; what was refused leaves one, in the name of whoever tried."""
    told = [(entry["action"], entry["outcome"], entry["actor"]["ref"]) for entry in entries]
    expect("entries of the refusal", told, [] if isinstance(error, BadInput) else [(action, "denied", ref)])
