"""A harness's settings.toml: what may be tuned, and changing values without touching anything else. Pure."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loop.errors import HarnessError

SETTINGS = "settings.toml"
TYPES: Mapping[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "choice": (str, int, float, bool),
    "string": (str,),
}
KEYS = frozenset({"value", "type", "choices", "min", "max", "step", "help"})
Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Tunable:
    """One declared setting. `choices` or (`low`, `high`, `step`) bound it; else it is not searched."""

    name: str
    type: str
    value: Scalar
    choices: tuple[Scalar, ...] = ()
    low: float | None = None
    high: float | None = None
    step: float | None = None
    help: str = ""

    @property
    def searchable(self) -> bool:
        """Whether its possible values are known."""
        return self.type == "bool" or bool(self.choices) or (self.low is not None and self.high is not None)


def parse_settings(text: str) -> dict[str, Tunable]:
    """The tunables of a settings.toml, in file order. Raises HarnessError naming the table that is wrong."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise HarnessError(f"{SETTINGS} is not valid TOML: {error}.") from error
    return {name: _tunable(name, table) for name, table in tables.items()}


def write_values(text: str, values: Mapping[str, Scalar]) -> str:
    """`text` with new values; every other byte stays. Raises HarnessError for unknown names."""
    wanted = tomllib.loads(text)
    unknown = sorted(set(values) - set(wanted))
    if unknown:
        raise HarnessError(f"{SETTINGS} does not declare {', '.join(unknown)}.")
    for name, value in values.items():
        wanted[name]["value"] = value
    lines = text.splitlines(keepends=True)
    table = ""
    for index, line in enumerate(lines):
        header = re.match(r"\s*\[\s*([A-Za-z0-9_-]+|\"[^\"]*\")\s*\]", line)
        if header:
            table = header.group(1).strip('"')
        elif table in values:
            lines[index] = _with_value(line, values[table])
    out = "".join(lines)
    if _typed(tomllib.loads(out)) != _typed(wanted):
        raise HarnessError(f"{SETTINGS} must hold each `value = ...` on a line of its own below its [table].")
    return out


def check_value(tunable: Tunable, value: Any) -> None:
    """Raise HarnessError unless `value` is one that the tunable allows."""
    kinds = TYPES[tunable.type]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise HarnessError(f"{SETTINGS} [{tunable.name}]: {value!r} is not of type {tunable.type}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise HarnessError(f"{SETTINGS} [{tunable.name}]: {value!r} is not a finite number.")
    if tunable.choices and value not in tunable.choices:
        raise HarnessError(f"{SETTINGS} [{tunable.name}]: {value!r} is not one of its choices.")
    if not isinstance(value, int | float):
        return
    if (tunable.low is not None and value < tunable.low) or (
        tunable.high is not None and value > tunable.high
    ):
        raise HarnessError(
            f"{SETTINGS} [{tunable.name}]: {value!r} is outside {tunable.low} to {tunable.high}."
        )


def _tunable(name: str, table: Any) -> Tunable:
    where = f"{SETTINGS} [{name}]"
    if not isinstance(table, dict) or "value" not in table or table.get("type") not in TYPES:
        raise HarnessError(f"{where} needs a value and a type (one of {', '.join(TYPES)}).")
    if extra := sorted(set(table) - KEYS):
        raise HarnessError(f"{where} does not know {', '.join(extra)}.")
    choices = table.get("choices", [])
    if not isinstance(choices, list) or not all(isinstance(entry, TYPES["choice"]) for entry in choices):
        raise HarnessError(f"{where}: choices must be a list of strings, numbers or booleans.")
    if table["type"] == "choice" and not choices:
        raise HarnessError(f"{where}: a choice needs choices.")
    bounds: dict[str, float | None] = {}
    for field, key in (("low", "min"), ("high", "max"), ("step", "step")):
        bound = table.get(key)
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int | float)):
            raise HarnessError(f"{where}: {key} must be a number.")
        bounds[field] = bound
    tunable = Tunable(
        name, table["type"], table["value"], tuple(choices), help=str(table.get("help", "")), **bounds
    )
    if tunable.low is not None and tunable.high is not None and tunable.low > tunable.high:
        raise HarnessError(f"{where}: min is larger than max.")
    check_value(tunable, tunable.value)
    return tunable


def _with_value(line: str, value: Scalar) -> str:
    found = re.match(r"""(\s*value\s*=\s*)("(?:[^"\\]|\\.)*"|'[^']*'|[^\s#"']+)""", line)
    return line if found is None else found.group(1) + _literal(value) + line[found.end() :]


def _literal(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _typed(tables: Mapping[str, Any]) -> str:
    return json.dumps(tables, sort_keys=True, default=str)
