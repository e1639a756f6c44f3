"""Every row of every governed table is explained by the log: whatever raw SQL changes, adds or removes is named."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.db import DatabaseError, connection, models, transaction
from django.utils import timezone

from governance.actions import reset_factors, stop, use_code
from governance.actions.base import act
from governance.actors import LOOP, Actor
from governance.assurance.verify import VERIFY_ACTION, live_differences, verify_is_due, verify_live
from governance.audit.campaign_tokens import create_campaign_token
from governance.audit.checkpoints import make_checkpoint
from governance.audit.log import Facts, record
from governance.audit.notes import decode64, encode64
from governance.audit.rows import Governed, governed_models
from governance.audit.stored_tree import WIDTH as STORED
from governance.audit.tokens import create_token
from governance.errors import AuditError
from governance.models import AuditEntry, AuditNode, Checkpoint, Pointer, Proposal, RoleGrant, Task, Version
from tests.governance.cast import BOLDER, REASON, World, make_adapter, ready
from tests.governance.desk.factor_helpers import code_of, give_authenticator
from tests.governance.desk.software_passkey import SoftwarePasskey
from tests.governance.desk.test_passkeys import add

append_only = import_module("governance.migrations.0002_append_only")
nodes = import_module("governance.migrations.0004_audit_trees_witnesses_tokens")
GOVERNED = {
    "person", "rolegrant", "task", "version", "release", "pointer", "pointermove", "proposal", "evidence", "review",
    "readtoken", "campaigntoken", "halt", "hold", "authenticator", "recoverycode", "passkey", "factorreset",
}  # fmt: skip
NOT_GOVERNED = {  # checked against the entries themselves, or a copy of what others hold
    "auditentry", "audithead", "auditnode", "checkpoint", "witnessing",
    "seen", "attempt",  # what people looked at, and failed sign-ins that still count: neither decides anything
}  # fmt: skip


@pytest.fixture
def full(world: World, auditor: Actor, history: Checkpoint) -> World:
    """A log with a promotion, a revert, an open proposal, an adapter and tokens; triggers lifted."""
    create_token(name="siem", by=auditor)
    create_campaign_token(name="nightly", days=30, by=world.cast.act("operator"))
    make_adapter(world.task)
    ready(world, BOLDER)
    give_authenticator(world.cast.rita)
    use_code(person=world.cast.rita, code=code_of(world.cast.rita), by=world.cast.act("rita"))
    add(world.cast.ravi, SoftwarePasskey())
    reset_factors(person=world.cast.rita, reason=REASON, by=world.cast.act("olga"))
    stop(scope="another-task", reason=REASON, by=world.cast.act("rita"))
    assert live_differences() == []
    with connection.cursor() as cursor:
        for statement in [
            *append_only.drop_statements(connection.vendor),
            *nodes.drop_statements(connection.vendor),
        ]:
            cursor.execute(statement)
    return world


def found_after(sql: str, values: list[Any]) -> list[str]:
    """What the live check finds after a raw statement, which is undone; [] too when the database refused it."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(sql, values)
                assert cursor.rowcount == 1
            found = [line for line in live_differences() if "lost the triggers" not in line]
            transaction.set_rollback(True)
    except DatabaseError:
        return ["refused by the database"]
    return found


def other(field: models.Field[Any, Any], value: Any) -> Any:
    """Another value that the column could hold."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(field, models.DateTimeField):
        return timezone.now() + timedelta(seconds=1) if value is None else value + timedelta(seconds=1)
    if isinstance(field, models.JSONField):
        return '{"a": 1}'
    if isinstance(field, models.BinaryField):
        return bytes(value) + b"x"
    if value is None:
        return 1
    return f"{value}x" if len(value) < (field.max_length or 1000) else "0" + value[1:-1] + "z"


def test_every_table_is_governed_or_checked_against_the_entries() -> None:
    names = {model._meta.model_name for model in governed_models()}
    every = {
        model._meta.model_name
        for model in import_module("django.apps").apps.get_app_config("governance").get_models()
    }
    assert (names, every - names) == (GOVERNED, NOT_GOVERNED)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(model, marks=[] if model in (Pointer, Proposal) else pytest.mark.one_database)
        for model in governed_models()
    ],
    ids=lambda model: str(model._meta.model_name),
)
def test_a_raw_change_of_any_column_an_added_and_a_removed_row_are_named(
    full: World, model: type[Governed]
) -> None:
    table = model._meta.db_table
    row = model.objects.order_by("pk").last()
    assert row is not None, f"the scene has no row in {table}"
    refused = 0
    for field in model._meta.concrete_fields:
        if field.primary_key:
            continue
        value = other(field, getattr(row, field.attname))
        found = found_after(f"UPDATE {table} SET {field.column} = %s WHERE id = %s", [value, row.pk])
        refused += found == ["refused by the database"]
        assert found, f"{table}.{field.column} was changed and nobody noticed"
        if found != ["refused by the database"]:
            assert any(f"Row {row.pk} of {table} is " in line and "entry" in line for line in found)
    assert refused <= 3
    found = found_after(f"DELETE FROM {table} WHERE id = %s", [row.pk])
    assert any(f"Row {row.pk} of {table} is gone; entry" in line for line in found) or "refused" in found[0]
    columns = [str(field.column) for field in model._meta.concrete_fields if not field.primary_key]
    unique = {
        str(field.column) for field in model._meta.concrete_fields if field.unique and not field.primary_key
    }
    copied = ", ".join(f"'added' AS {name}" if name in unique else name for name in columns)
    found = found_after(
        f"INSERT INTO {table} (id, {', '.join(columns)}) SELECT 999999, {copied} FROM {table} WHERE id = %s",
        [row.pk],
    )
    assert (
        any(f"Row 999999 of {table} is explained by no entry" in line for line in found)
        or "refused" in found[0]
    )


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("username", "mallory"),
        ("is_active", False),
        ("is_staff", False),
        ("is_superuser", True),
        ("password", "md5$salt$0123456789abcdef0123456789abcdef"),
    ],
)
def test_an_account_given_to_somebody_else_is_named(full: World, column: str, value: Any) -> None:
    person = full.cast.rita
    sql = f"UPDATE auth_user SET {column} = %s WHERE id = %s"
    assert any(
        f"Row {person.pk} of governance_person" in line for line in found_after(sql, [value, person.user_id])
    )


@pytest.mark.parametrize(
    ("table", "column", "value", "sentence"),
    [
        ("auditentry", "time", "2020-01-01 00:00:00+00:00", "columns that differ"),
        ("auditentry", "object_type", "other", "columns that differ"),
        ("auditentry", "leaf", "0" * 64, "does not hash"),
        ("audithead", "size", 3, "The head counts 3"),
        ("checkpoint", "root", "0" * 64, "another root"),
        ("checkpoint", "note", "x", "cannot be checked"),
        ("checkpoint", "time", "2020-01-01 00:00:00+00:00", "dated before"),
        ("checkpoint", "size", 4, "another root at 4"),
    ],
)
def test_a_raw_change_of_the_logs_own_tables_is_named(
    full: World, table: str, column: str, value: Any, sentence: str
) -> None:
    key = {"auditentry": "seq", "audithead": "id", "checkpoint": "size"}[table]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT MIN({key}) FROM governance_{table}")
        first = cursor.fetchone()[0]
    found = found_after(f"UPDATE governance_{table} SET {column} = %s WHERE {key} = %s", [value, first])
    assert any(sentence in line for line in found), found


def test_a_false_node_of_the_tree_is_named(full: World) -> None:
    for level, index in ((8, 0), (3, 0)):
        sql = 'INSERT INTO governance_auditnode (level, "index", hash) VALUES (%s, %s, %s)'
        found = found_after(sql, [level, index, "0" * 64])
        assert any(f"Node {index} of level {level} is not the hash" in line for line in found)
    with transaction.atomic():
        for _ in range(STORED):
            record(by=LOOP, action="campaign.started", subject=("campaign", "7"))
    make_checkpoint()
    assert AuditNode.objects.count() == 1
    assert not any(line.startswith("Node ") for line in live_differences())
    found = found_after("UPDATE governance_auditnode SET hash = %s", ["0" * 64])
    assert any("Node 0 of level 8 is not the hash" in line for line in found)


def test_a_pointer_moved_by_raw_sql_is_named_twice(full: World) -> None:
    pointer = Pointer.objects.get(key="release:digits")
    found = found_after("UPDATE governance_pointer SET digest = %s WHERE id = %s", ["f" * 64, pointer.pk])
    assert any(line.startswith("Pointer release:digits is ffffffffffff") for line in found)
    assert any(f"Row {pointer.pk} of governance_pointer is not as entry" in line for line in found)


def test_an_act_that_writes_a_row_after_its_entry_is_undone(world: World) -> None:
    @act("task.rename")
    def rename(*, by: Actor, told: bool) -> None:
        record(by=by, action="task.rename", subject=("task", "digits"))
        Task.objects.filter(slug="digits").update(title="Other")
        if told:
            record(by=by, action="task.rename", subject=("task", "digits"))

    before = AuditEntry.objects.count()
    with pytest.raises(AuditError, match="Rows of governance_task were written after the last entry"):
        rename(by=LOOP, told=False)
    assert (Task.objects.get().title, AuditEntry.objects.count()) == ("Digits", before)
    rename(by=LOOP, told=True)
    assert Task.objects.get().title == "Other" and live_differences() == []


def test_a_row_that_an_act_deletes_after_its_entry_is_there_again(world: World) -> None:
    @act("role.lose")
    def lose(*, grant: RoleGrant, by: Actor) -> None:
        record(by=by, action="role.lose", subject=("person", grant.person.ref))
        grant.delete()

    grants = RoleGrant.objects.count()
    with pytest.raises(AuditError, match="Rows of governance_rolegrant were written after the last entry"):
        lose(grant=RoleGrant.objects.all()[0], by=LOOP)
    assert RoleGrant.objects.count() == grants


def test_the_live_check_leaves_an_entry_and_is_due_a_day_later(world: World) -> None:
    now = timezone.now()
    assert verify_is_due(now)
    assert verify_live(now) == []
    first = AuditEntry.objects.latest("seq")
    assert (first.action, first.outcome, first.entry()["reason"]) == (VERIFY_ACTION, "allowed", "")
    assert not verify_is_due(now + timedelta(hours=23)) and verify_is_due(now + timedelta(hours=25))
    Task.objects.filter(slug="digits").update(title="Other")
    (found,) = verify_live(now)
    entry = AuditEntry.objects.latest("seq").entry()
    assert (entry["outcome"], entry["reason"]) == ("failed", found)
    assert (entry["detail"]["differences"], entry["detail"]["first"]) == (1, [found])


def test_a_checkpoint_whose_signature_was_changed_cannot_be_checked(full: World) -> None:
    made = make_checkpoint()
    *text, line = made.note.splitlines()
    signature = bytearray(decode64(line.split(" ")[-1]))
    signature[-1] ^= 1
    forged = "\n".join([*text, f"{line.rpartition(' ')[0]} {encode64(bytes(signature))}", ""])
    found = found_after("UPDATE governance_checkpoint SET note = %s WHERE size = %s", [forged, made.size])
    assert any(f"The checkpoint at {made.size} cannot be checked" in line for line in found), found


def test_a_write_outside_an_act_is_explained_by_no_entry(world: World) -> None:
    Task.objects.filter(slug="digits").update(title="Other")
    Version.objects.all()[0].save()
    (found,) = live_differences()
    assert "of governance_task is not as entry" in found


def test_nobody_explains_rows_in_the_logs_place(world: World) -> None:
    with pytest.raises(AuditError, match="the log's own"), transaction.atomic():
        record(by=LOOP, action="a.b", subject=("a", "b"), facts=Facts(detail={"rows": {}}))
    with pytest.raises(NotImplementedError):
        Task.objects.bulk_create([])
