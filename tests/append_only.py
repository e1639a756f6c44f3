"""Emptying the test database between tests: the append-only tables refuse it, so their triggers are lifted for that."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.core.management.commands import flush
from django.db import connections

_TRIGGERS = (
    import_module("governance.migrations.0002_append_only"),
    import_module("governance.migrations.0004_audit_trees_witnesses_tokens"),
    import_module("loop.migrations.0002_append_only_ledger"),
)


class _Flush(flush.Command):
    """Django's `flush`, as its transactional tests call it, without the triggers while it runs."""

    def handle(self, **options: Any) -> None:
        """Drop the triggers, flush, put them back."""
        connection = connections[options["database"]]
        with connection.cursor() as cursor:
            for triggers in _TRIGGERS:
                for statement in triggers.drop_statements(connection.vendor):
                    cursor.execute(statement)
            super().handle(**options)
            for triggers in _TRIGGERS:
                for statement in triggers.create_statements(connection.vendor):
                    cursor.execute(statement)


def let_tests_flush() -> None:
    """Make this process's `flush` command the one above."""
    flush.Command = _Flush  # type: ignore[misc]
