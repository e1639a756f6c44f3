"""The ledger of hidden queries is append-only: the database itself refuses to change or remove a row."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations

LEDGER = "loop_hiddenquery"
WORDS = f"{LEDGER} is append-only: a hidden query stays counted"

SQLITE = [
    f"CREATE TRIGGER {LEDGER}_{act} BEFORE {act.upper()} ON {LEDGER} BEGIN SELECT RAISE(ABORT, '{WORDS}'); END"
    for act in ("update", "delete")
]
POSTGRESQL = [
    f"CREATE TRIGGER {LEDGER}_change BEFORE UPDATE OR DELETE ON {LEDGER} "
    "FOR EACH ROW EXECUTE FUNCTION governance_refuse_change()",
    f"CREATE TRIGGER {LEDGER}_truncate BEFORE TRUNCATE ON {LEDGER} "
    "FOR EACH STATEMENT EXECUTE FUNCTION governance_refuse_change()",
]
def create_statements(vendor: str) -> list[str]:
    """The SQL that puts the triggers in place on `sqlite` or `postgresql`."""
    return SQLITE if vendor == "sqlite" else POSTGRESQL


def drop_statements(vendor: str) -> list[str]:
    """The SQL that takes them away again."""
    if vendor == "sqlite":
        return [f"DROP TRIGGER IF EXISTS {LEDGER}_{act}" for act in ("update", "delete")]
    return [f"DROP TRIGGER IF EXISTS {LEDGER}_{act} ON {LEDGER}" for act in ("change", "truncate")]


def create(apps: Any, editor: Any) -> None:
    """Put the triggers in place."""
    for statement in create_statements(editor.connection.vendor):
        editor.execute(statement)


def drop(apps: Any, editor: Any) -> None:
    """Take them away again."""
    for statement in drop_statements(editor.connection.vendor):
        editor.execute(statement)


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [
        ("loop", "0001_initial"),
        ("governance", "0002_append_only"),
    ]
    operations: ClassVar[list[Any]] = [migrations.RunPython(create, drop)]
