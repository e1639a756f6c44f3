"""Typed reading of a TOML table, with errors that name the file and the field."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loop.errors import TaskError

SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the file `path`; `name` is its dotted name, '' at the top. Every method raises TaskError."""

    path: str
    name: str
    values: Mapping[str, Any]

    def error(self, key: str, what: str) -> TaskError:
        """The error to raise about one field."""
        field = ".".join(part for part in (self.name, key) if part)
        return TaskError(f"{self.path}: {field} {what}.")

    def refuse_unknown(self, known: frozenset[str]) -> None:
        """Every key must be one of `known`: a misspelt limit must not be silently ignored."""
        for key in self.values:
            if key not in known:
                raise self.error(key, f"is not a known field; known are {', '.join(sorted(known))}")

    def text(self, key: str) -> str:
        """A non-empty string."""
        value = self._get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, "must be a non-empty string")
        return value

    def slug(self, key: str) -> str:
        """A name of letters, digits, dots, dashes and underscores."""
        value = self.text(key)
        if not SLUG.fullmatch(value):
            raise self.error(key, "may hold only letters, digits, dots, dashes and underscores")
        return value

    def file_name(self, key: str) -> str:
        """A plain file name without a folder."""
        return self.slug(key)

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        """One of `choices`."""
        value = self._get(key)
        if value not in choices:
            raise self.error(key, f"must be {' or '.join(choices)}")
        return str(value)

    def texts(self, key: str, *, optional: bool = False) -> tuple[str, ...]:
        """A list of strings; with `optional`, () where the key is missing."""
        value = self.values.get(key, []) if optional else self._get(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(key, "must be a list of strings")
        return tuple(value)

    def number(self, key: str) -> float:
        """A number (which may be inf)."""
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            raise self.error(key, "must be a number")
        return float(value)

    def count(self, key: str) -> int:
        """A positive integer."""
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.error(key, "must be a positive integer")
        return value

    def interval(self, key: str) -> tuple[float, float]:
        """[low, high] with low < high; either may be infinite."""
        value = self._get(key)
        if not isinstance(value, list) or len(value) != 2:
            raise self.error(key, "must be a list of two numbers")
        low, high = (Table(self.path, self.name, {key: item}).number(key) for item in value)
        if not low < high:
            raise self.error(key, "must rise from its first number to its second")
        return low, high

    def table(self, key: str, *, optional: bool = False) -> Table:
        """The table below `key`; with `optional`, an empty one where it is missing."""
        value = self.values.get(key, {}) if optional else self._get(key)
        name = ".".join(part for part in (self.name, key) if part)
        if not isinstance(value, dict):
            raise self.error(key, "must be a table")
        return Table(self.path, name, value)

    def _get(self, key: str) -> Any:
        if key not in self.values:
            raise self.error(key, "is missing")
        return self.values[key]
