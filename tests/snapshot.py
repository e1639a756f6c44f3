"""Instances that many tests start from: the first one of a process is made by the acts themselves, the next are copies.

A copy is the same rows and the same files, so nothing can tell it from the one that it was taken of.
"""

from __future__ import annotations

import atexit
import pickle
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from django.apps import apps
from django.core.management.color import no_style
from django.db import connection, models, transaction

KEPT = {"django_content_type", "auth_permission"}  # what Django fills by itself
Made = TypeVar("Made")


@dataclass(frozen=True)
class Snapshot:
    """The rows of every governed table, the files of the data home, and what the maker returned."""

    rows: dict[type[models.Model], list[tuple[Any, ...]]]
    files: Path
    made: bytes

    @classmethod
    def take(cls, home: Path, made: object) -> Snapshot:
        """What is there now."""
        rows = {}
        with connection.cursor() as cursor:
            for model in _tables():
                order = model._meta.pk.column
                cursor.execute(f'SELECT {_columns(model)} FROM {model._meta.db_table} ORDER BY "{order}"')
                rows[model] = cursor.fetchall()
        files = Path(tempfile.mkdtemp(prefix="pawl-test-"))
        atexit.register(shutil.rmtree, files, ignore_errors=True)
        shutil.copytree(home, files, symlinks=True, dirs_exist_ok=True)
        return cls(rows, files, pickle.dumps(made))

    def restore(self, home: Path) -> Any:
        """Puts it into an empty database and a data home; returns a copy of what the maker returned."""
        with transaction.atomic(), connection.cursor() as cursor:
            for model, rows in self.rows.items():
                if model._base_manager.exists():  # what migrations put there
                    cursor.execute(f"DELETE FROM {model._meta.db_table}")
                if rows:
                    places = ", ".join(["%s"] * len(rows[0]))
                    cursor.executemany(
                        f"INSERT INTO {model._meta.db_table} ({_columns(model)}) VALUES ({places})", rows
                    )
            filled = [model for model, rows in self.rows.items() if rows]
            for statement in connection.ops.sequence_reset_sql(no_style(), filled):
                cursor.execute(statement)
        shutil.copytree(self.files, home, symlinks=True, dirs_exist_ok=True)
        return pickle.loads(self.made)


def _tables() -> list[type[models.Model]]:
    found = apps.get_models(include_auto_created=True)
    return [model for model in found if model._meta.managed and model._meta.db_table not in KEPT]


def _columns(model: type[models.Model]) -> str:
    return ", ".join(f'"{field.column}"' for field in model._meta.concrete_fields)


_taken: dict[str, Snapshot] = {}


def remembered(name: str, home: Path, make: Callable[[], Made]) -> Made:
    """What `make` makes in an empty database and this data home; made once in a process, then copied."""
    if name in _taken:
        copy: Made = _taken[name].restore(home)
        return copy
    made = make()
    _taken[name] = Snapshot.take(home, made)
    return made
