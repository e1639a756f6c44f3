"""Append-only tables: the database itself refuses to change, remove or replace a row."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations

# table: what makes two rows the same (INSERT OR REPLACE would remove the old one without UPDATE or DELETE)
TABLES = {
    "governance_auditentry": "seq = NEW.seq",
    "governance_checkpoint": "size = NEW.size",
    "governance_pointermove": "id = NEW.id OR (key = NEW.key AND generation = NEW.generation)",
    "governance_evidence": "id = NEW.id OR (proposal_id = NEW.proposal_id AND name = NEW.name)",
}
ENTRIES = "governance_auditentry"

POSTGRESQL_FUNCTIONS = """
CREATE OR REPLACE FUNCTION governance_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE OR REPLACE FUNCTION governance_refuse_gap() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.seq <> (SELECT COALESCE(MAX(seq), -1) + 1 FROM governance_auditentry) THEN
        RAISE EXCEPTION 'governance_auditentry has no gaps: entry % is refused', NEW.seq
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
"""


def create_statements(vendor: str) -> list[str]:
    """The SQL that puts every trigger in place on `sqlite` or `postgresql`."""
    if vendor == "postgresql":
        return [POSTGRESQL_FUNCTIONS, *(_postgresql(table) for table in TABLES), _postgresql_gap()]
    return [statement for table, same in TABLES.items() for statement in _sqlite(table, same)] + [
        _sqlite_gap()
    ]


def drop_statements(vendor: str) -> list[str]:
    """The SQL that takes every trigger away again."""
    names = [
        (f"{table}_{act}", table)
        for table in TABLES
        for act in ("change", "truncate", "update", "delete", "insert")
    ]
    names.append((f"{ENTRIES}_gap", ENTRIES))
    if vendor == "postgresql":
        return [f"DROP TRIGGER IF EXISTS {name} ON {table}" for name, table in names]
    return [f"DROP TRIGGER IF EXISTS {name}" for name, _ in names]


def _postgresql(table: str) -> str:
    return (
        f"CREATE TRIGGER {table}_change BEFORE UPDATE OR DELETE ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION governance_refuse_change();"
        f"CREATE TRIGGER {table}_truncate BEFORE TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION governance_refuse_change();"
    )


def _postgresql_gap() -> str:
    return (
        f"CREATE TRIGGER {ENTRIES}_gap BEFORE INSERT ON {ENTRIES} "
        "FOR EACH ROW EXECUTE FUNCTION governance_refuse_gap();"
    )


def _sqlite(table: str, same: str) -> list[str]:
    refusals = {"update": "", "delete": "", "insert": f" WHEN EXISTS (SELECT 1 FROM {table} WHERE {same})"}
    return [
        f"CREATE TRIGGER {table}_{act} BEFORE {act.upper()} ON {table}{when} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: {act} of an existing row is refused'); END"
        for act, when in refusals.items()
    ]


def _sqlite_gap() -> str:
    return (
        f"CREATE TRIGGER {ENTRIES}_gap BEFORE INSERT ON {ENTRIES} "
        f"WHEN NEW.seq <> (SELECT COALESCE(MAX(seq), -1) + 1 FROM {ENTRIES}) "
        f"BEGIN SELECT RAISE(ABORT, '{ENTRIES} has no gaps: this number is refused'); END"
    )


def _create(apps: Any, schema_editor: Any) -> None:
    for statement in create_statements(schema_editor.connection.vendor):
        schema_editor.execute(statement, params=None)


def _drop(apps: Any, schema_editor: Any) -> None:
    for statement in drop_statements(schema_editor.connection.vendor):
        schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    """Puts the triggers in place; the reverse takes them away."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("governance", "0001_initial")]
    operations: ClassVar[list[Any]] = [migrations.RunPython(_create, _drop)]
