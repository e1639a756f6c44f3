"""Appending to the log, and the database's own refusal to change it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from importlib import import_module

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.migrations import RunPython
from django.db.migrations.state import ProjectState
from pytest_django import DjangoAssertNumQueries

from governance.actors import LOOP, Actor
from governance.audit.canonical import parse_canonical
from governance.audit.log import MAX_ENTRY_BYTES, Facts, record
from governance.audit.tree import leaf_hash
from governance.errors import AuditError
from governance.models import AuditEntry, AuditHead, Checkpoint

FIELDS = {
    "v", "seq", "id", "time", "actor", "on_behalf_of", "action", "outcome", "object", "subject_digest", "before",
    "after", "reason", "policy", "evidence", "cause", "request_id", "task", "detail",
}  # fmt: skip
STATEMENTS_OF_AN_APPEND = 5
NO_FACTS = Facts()


def append(action: str = "campaign.started", facts: Facts = NO_FACTS) -> AuditEntry:
    with transaction.atomic():
        return record(by=LOOP, action=action, subject=("campaign", "7"), facts=facts)


def test_an_entry_has_every_field_and_hashes_to_its_leaf(db: None) -> None:
    facts = Facts(
        outcome="denied",
        reason="No \u20ac\U0001f600.",
        task="digits",
        detail={"p": 0.03, "n": 3},
        before="a" * 64,
    )
    row = append(facts=facts)
    body = row.body.encode()
    entry = parse_canonical(body)
    assert set(entry) == FIELDS
    assert row.leaf == leaf_hash(body).hex()
    assert entry["actor"] == {"kind": "system", "ref": "loop", "auth": ""}
    assert entry["object"] == {"type": "campaign", "id": "7"}
    assert (entry["outcome"], entry["task"], entry["detail"]) == ("denied", "digits", {"p": 0.03, "n": 3})
    assert entry["time"].endswith("Z") and datetime.fromisoformat(entry["time"]) == row.time
    assert entry["id"][14] == "7" and entry["id"][19] in "89ab"


def test_numbers_have_no_gaps_even_after_a_rollback(db: None) -> None:
    first = append().seq
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        record(by=LOOP, action="x.y", subject=("a", "b"))
        raise ZeroDivisionError
    assert [append().seq, append().seq] == [first + 1, first + 2]
    assert AuditHead.objects.get().size == AuditEntry.objects.count()


def test_the_log_begins_at_zero(db: None) -> None:
    assert append().seq == 0


def test_an_entry_outside_a_transaction_is_refused(transactional_db: None) -> None:
    with pytest.raises(AuditError, match="transaction"):
        record(by=LOOP, action="x.y", subject=("a", "b"))
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize(
    "detail", [{"a": float("nan")}, {"a": b"bytes"}, {"a": 2**60}, {1: "number as a name"}]
)
def test_what_json_cannot_hold_is_refused_in_one_sentence(db: None, detail: dict[str, object]) -> None:
    with pytest.raises(AuditError, match=r"campaign\.started was not written"):
        append(facts=Facts(detail=detail))


def test_an_entry_may_be_as_large_as_the_limit_and_no_larger(db: None) -> None:
    spare = MAX_ENTRY_BYTES - len(append().body)
    assert len(append(facts=Facts(reason="x" * spare)).body) == MAX_ENTRY_BYTES
    with pytest.raises(AuditError, match=r"65,536 bytes"):
        append(facts=Facts(reason="x" * (spare + 1)))


def test_an_unknown_outcome_is_refused(db: None) -> None:
    with pytest.raises(AuditError, match="outcome"):
        append(facts=Facts(outcome="maybe"))  # type: ignore[arg-type]


def test_text_that_a_column_cannot_hold_is_refused_alike_on_every_database(db: None) -> None:
    with pytest.raises(AuditError, match="object id"), transaction.atomic():
        record(by=LOOP, action="x.y", subject=("a", "b" * 101))
    with pytest.raises(AuditError, match="actor"), transaction.atomic():
        record(by=Actor("agent", "r" * 65), action="x.y", subject=("a", "b"))


def test_writers_at_the_same_time_get_different_numbers_and_none_is_lost(transactional_db: None) -> None:
    def write(number: int) -> int:
        try:
            return append(f"writer.{number}").seq
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(write, range(24)))
    assert sorted(numbers) == list(range(24))
    assert list(AuditEntry.objects.order_by("seq").values_list("seq", flat=True)) == list(range(24))


def test_an_append_costs_as_many_statements_in_a_long_log_as_in_a_short_one(
    db: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(300):  # past the first row of the stored tree
        append()
    with django_assert_num_queries(STATEMENTS_OF_AN_APPEND):
        append()


STATEMENTS = [
    "UPDATE governance_auditentry SET body = 'x' WHERE seq = 0",
    "DELETE FROM governance_auditentry WHERE seq = 0",
    "DELETE FROM governance_checkpoint",
    "UPDATE governance_checkpoint SET root = 'x'",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_the_database_refuses_to_change_or_remove_rows(db: None, statement: str) -> None:
    row = append()
    Checkpoint.objects.create(size=1, root="r", note="n")
    with (
        pytest.raises(IntegrityError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert AuditEntry.objects.get(seq=0).body == row.body
    assert Checkpoint.objects.get().root == "r"


def test_the_orm_cannot_change_rows_either(db: None) -> None:
    row = append()
    row.body = "changed"
    acts: list[Callable[[], object]] = [
        row.save,
        row.delete,
        lambda: AuditEntry.objects.update(body="changed"),
        lambda: AuditEntry.objects.all().delete(),
        lambda: AuditEntry.objects.bulk_create(
            [row], update_conflicts=True, update_fields=["body"], unique_fields=["seq"]
        ),
    ]
    for act in acts:
        with pytest.raises(IntegrityError), transaction.atomic():
            act()
    assert AuditEntry.objects.get().body != "changed"


def test_a_number_that_leaves_a_gap_is_refused(db: None) -> None:
    row = append()
    for seq in (2, -1, 0):
        row.seq = seq
        with pytest.raises(IntegrityError), transaction.atomic():
            row.save(force_insert=True)


def test_rows_cannot_be_replaced_behind_the_triggers(db: None) -> None:
    append()
    Checkpoint.objects.create(size=1, root="r", note="n")
    if connection.vendor == "postgresql":
        statements = ["TRUNCATE governance_auditentry", "TRUNCATE governance_checkpoint CASCADE"]
    else:
        copy = "REPLACE INTO governance_auditentry SELECT * FROM governance_auditentry"
        statements = [
            copy,
            "REPLACE INTO governance_checkpoint SELECT size, 'x', note, time FROM governance_checkpoint",
        ]
    for statement in statements:
        with pytest.raises(DatabaseError, match=r"append-only|gaps"), transaction.atomic():
            _execute(statement)
    assert Checkpoint.objects.get().root == "r"


def _triggers() -> set[str]:
    """The names of all triggers on this database."""
    query = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(query)
        return {row[0] for row in cursor.fetchall()}


@pytest.mark.parametrize(
    ("migration", "tables"),
    [
        ("0002_append_only", ("auditentry", "checkpoint", "pointermove", "evidence")),
        ("0004_audit_trees_witnesses_tokens", ("auditnode",)),
    ],
)
def test_a_migration_taken_back_takes_exactly_its_triggers_and_brings_them_again(
    transactional_db: None, migration: str, tables: tuple[str, ...]
) -> None:
    operations = import_module(f"governance.migrations.{migration}").Migration.operations
    (code,) = (each for each in operations if isinstance(each, RunPython))
    before, state = _triggers(), ProjectState()
    with connection.schema_editor() as editor:
        code.database_backwards("governance", editor, state, state)
    taken = before - _triggers()
    with connection.schema_editor() as editor:
        code.database_forwards("governance", editor, state, state)
    assert _triggers() == before
    assert taken == {
        name for name in before if name.startswith(tuple(f"governance_{table}_" for table in tables))
    }
    assert all(any(f"governance_{table}_" in name for name in taken) for table in tables)


def _execute(statement: str) -> None:
    """Run a statement as one who has turned SQLite's own help off."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA recursive_triggers=OFF" if connection.vendor == "sqlite" else "SELECT 1")
        cursor.execute(statement)
