"""Whether the tables, the log and its replay are what the oracle says, after each act."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.db import connection

from governance.assurance.judged_by import bytes_of
from governance.assurance.replay import Replay
from governance.audit.rows import Governed
from governance.errors import BadInput
from governance.models import (
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


def _proposals() -> dict[str, Any]:
    rows = Proposal.objects.values_list("ref", "status", "review_due", "reverts_at", "lane")
    return {ref: told for ref, *told in rows}


def _reviews() -> list[Any]:
    rows = Review.objects.values_list("proposal__ref", "person__ref", "verdict", "expires_at", "consumed_at")
    return sorted(
        (ref, person, verdict, expires, used is not None) for ref, person, verdict, expires, used in rows
    )


def _roles() -> dict[Any, Any]:
    grants = RoleGrant.objects.values_list("person__ref", "role", "granted_by", "granted_at")
    return {(ref, role): None if by == "setup" else at for ref, role, by, at in grants}


READ: dict[str, tuple[type[Governed], Callable[[], Any]]] = {
    "pointers": (
        Pointer,
        lambda: {key: (to, at) for key, to, at in Pointer.objects.values_list("key", "digest", "generation")},
    ),
    "proposals": (Proposal, _proposals),
    "reviews": (Review, _reviews),
    "roles": (RoleGrant, _roles),
    "halts": (Halt, lambda: dict(Halt.objects.filter(resumed_at=None).values_list("scope", "resumed_by"))),
    "holds": (
        Hold,
        lambda: {
            digest: (automatic, asked)
            for digest, automatic, asked in Hold.objects.filter(lifted_at=None).values_list(
                "digest", "automatic", "lifted_by"
            )
        },
    ),
}


class Tables:
    """The live tables, in the oracle's words; a table whose rows are as they were is not read again."""

    def __init__(self) -> None:
        """Nothing was read yet."""
        self._rows: dict[str, list[Any]] = {}
        self._told: dict[str, Any] = {}

    def seen(self, oracle: Oracle) -> dict[str, Any]:
        """What the tables say now. A lane counts once its proposal is ready."""
        for part, (model, read) in READ.items():
            rows = raw(f"SELECT * FROM {model._meta.db_table} ORDER BY id")
            if self._rows.get(part) != rows:
                self._rows[part], self._told[part] = rows, read()
        laned = {ask.ref for ask in oracle.asks.values() if ask.lane}
        proposals = {
            ref: (status, due, reverts, *([lane] if ref in laned else []))
            for ref, (status, due, reverts, lane) in self._told["proposals"].items()
        }
        return {**self._told, "proposals": proposals}


def raw(statement: str, *values: int) -> list[Any]:
    """The rows of a query, as the database's own driver gives them."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


class Watch:
    """Follows the log and the tables from act to act."""

    def __init__(self) -> None:
        """Begin after what the log holds now."""
        self.replay = Replay(bytes_of)
        self.live = Tables()
        self.size = 0
        self.tables: dict[str, Any] = {}
        self.counts = self._count()
        self._new_entries()

    def begin(self, oracle: Oracle) -> None:
        """Before the first act, service and oracle agree."""
        self.tables = self.live.seen(oracle)
        self.check(oracle, "", "", None)

    def check(self, oracle: Oracle, action: str, ref: str, error: Exception | None) -> None:
        """Hold everything against the oracle. `action` and `ref` of an act that was refused with `error`."""
        tables = self.live.seen(oracle)
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
        rows = raw("SELECT seq, body FROM governance_auditentry WHERE seq >= %s ORDER BY seq", self.size)
        expect(
            "the numbers of the log", [seq for seq, _ in rows], list(range(self.size, self.size + len(rows)))
        )
        self.size += len(rows)
        expect("the log's head", raw("SELECT size FROM governance_audithead"), [(self.size,)])
        entries = [json.loads(body) for _, body in rows]
        for entry in entries:
            self.replay.feed(entry)
        return entries

    def _check_replay(self) -> None:
        if self.replay.broken:
            raise Broken(f"the replay of the log says: {self.replay.broken[0]}")
        expect("the moves in the log", self.replay.moves, self.counts[0])

    @staticmethod
    def _count() -> list[int]:
        return [
            count for model in COUNTED for (count,) in raw(f"SELECT count(*) FROM {model._meta.db_table}")
        ]


def _check_refusal(entries: list[dict[str, Any]], action: str, ref: str, error: Exception) -> None:
    """What was malformed leaves no entry; what was refused leaves one, in the name of whoever tried."""
    told = [(entry["action"], entry["outcome"], entry["actor"]["ref"]) for entry in entries]
    expect("entries of the refusal", told, [] if isinstance(error, BadInput) else [(action, "denied", ref)])
