"""Every governed row is explained by the log: an entry carries the digest of each row that its act wrote.

Inside an act (governance/actions/base.py), writes to governed tables are noted as they happen; the next entry takes
them along as `detail.rows` ({table: {primary key: digest, or "" for a row that is gone}}). An act that leaves a written
row without an entry is undone. So the live tables can be held against the log, column by column, whatever wrote them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.apps import apps
from django.db import models

from governance.digests import json_digest, sha256_hex
from governance.errors import AuditError

ROWS = "rows"
Touched = dict[type["Governed"], set[Any]]
_touched: ContextVar[Touched | None] = ContextVar("touched", default=None)


class GovernedRows(models.QuerySet[Any]):
    """A query set whose writes are noted. Rows are never written in ways that this does not see."""

    def update(self, **values: Any) -> int:
        """Update the rows, noting each."""
        if _touched.get() is not None:
            _note(self.model, self.values_list("pk", flat=True))
        return super().update(**values)

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete the rows, noting each."""
        if _touched.get() is not None:
            _note(self.model, self.values_list("pk", flat=True))
        return super().delete()

    def bulk_create(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: rows made in bulk may have no primary key to note. Raises NotImplementedError."""
        raise NotImplementedError("Create governed rows one by one.")


class Governed(models.Model):
    """Base of every table whose rows the log must explain."""

    later: ClassVar[
        tuple[str, ...]
    ] = ()  # columns that came later: not told while empty, as former entries have it
    objects = GovernedRows.as_manager()

    class Meta:
        abstract = True

    @classmethod
    def told_beside(cls, rows: models.QuerySet[Any]) -> dict[Any, dict[str, Any]]:
        """{primary key: columns of related rows that count as this row's own}; asked apart from the rows themselves,
        for a join would hide a row without its other half.
        """
        return {}

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the row and note it."""
        super().save(*args, **kwargs)
        _note(type(self), [self.pk])

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete the row and note it."""
        _note(type(self), [self.pk])
        return super().delete(*args, **kwargs)


@contextmanager
def explained() -> Iterator[None]:
    """Note what is written inside. Raises AuditError at the end when a row has been written after the last entry."""
    token = _touched.set({})
    try:
        yield
        left = _touched.get()
        if left:
            tables = ", ".join(sorted(model._meta.db_table for model in left))
            raise AuditError(
                f"Rows of {tables} were written after the last entry of the act; nothing was done."
            )
    finally:
        _touched.reset(token)


def take() -> dict[str, dict[str, str]]:
    """{table: {primary key: digest}} of the rows written since the last entry, as they are now."""
    touched = _touched.get()
    if not touched:
        return {}
    found: dict[str, dict[str, str]] = {}
    for model, keys in sorted(touched.items(), key=lambda item: item[0]._meta.db_table):
        now = dict(digests(model, keys))
        found[model._meta.db_table] = {str(key): now.get(str(key), "") for key in sorted(keys)}
    touched.clear()
    return found


def digests(model: type[Governed], keys: Iterable[Any] | None = None) -> Iterator[tuple[str, str]]:
    """(primary key, digest) of the rows with these keys, or of all rows."""
    rows = model.objects.all() if keys is None else model.objects.filter(pk__in=list(keys))
    names = [field.attname for field in model._meta.concrete_fields]
    beside = model.told_beside(rows)
    for row in rows.order_by("pk").values(*names).iterator(chunk_size=1_000):
        key = row[model._meta.pk.attname]
        told = {name: _plain(value) for name, value in row.items() if value or name not in model.later}
        yield str(key), json_digest(told | beside.get(key, {}))


def governed_models() -> list[type[Governed]]:
    """Every governed table's model."""
    found = apps.get_app_config("governance").get_models()
    return [model for model in found if issubclass(model, Governed)]


class Explained:
    """What the log says of the governed rows. Feed it the detail of every entry in order, then ask."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._last: dict[tuple[str, str], tuple[str, int]] = {}

    def feed(self, seq: int, detail: Mapping[str, Any]) -> None:
        """Take one entry's rows."""
        for table, rows in detail.get(ROWS, {}).items():
            for key, digest in rows.items():
                self._last[table, key] = digest, seq

    def differences(self) -> Iterator[str]:
        """One sentence for each row that is not as the log left it."""
        left = {place: known for place, known in self._last.items() if known[0]}
        for model in governed_models():
            table = model._meta.db_table
            for key, digest in digests(model):
                known = left.pop((table, key), None)
                if known is None:
                    yield f"Row {key} of {table} is explained by no entry."
                elif known[0] != digest:
                    yield f"Row {key} of {table} is not as entry {known[1]} left it."
        for (table, key), (_, seq) in sorted(left.items()):
            yield f"Row {key} of {table} is gone; entry {seq} left it there."


def _note(model: type[Governed], keys: Iterable[Any]) -> None:
    touched = _touched.get()
    if touched is not None and (found := set(keys)):
        touched.setdefault(model, set()).update(found)


def _plain(value: Any) -> Any:
    """A column's value as JSON has it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, (bytes, memoryview)):
        return sha256_hex(bytes(value))
    return value
