"""Strict reading of a rollout's outputs: JSON lines, each expected id exactly once, exactly the declared fields.

Standard library only: this file is also mounted, alone, into the evaluator's sandbox, where the parsing happens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MAX_LINE_BYTES = 1 << 20
SHOWN_IDS = 3


class OutputError(ValueError):
    """An output breaks its contract; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One declared field. `kind` is string, number, integer or boolean; `max_length` counts characters."""

    kind: str
    max_length: int | None = None
    choices: tuple[str, ...] | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class OutputSchema:
    """The one output file of a task: JSON lines with a string `id` and the declared fields."""

    file: str
    fields: Mapping[str, FieldSpec]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> OutputSchema:
        """The inverse of `to_dict`."""
        return cls(value["file"], {name: FieldSpec(**spec) for name, spec in value["fields"].items()})


def read_outputs(path: Path, schema: OutputSchema, expected: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The rows of one output file by id. Raises OutputError for the first thing that is wrong."""
    if not path.is_file():
        raise OutputError(f"The output {schema.file} is missing.")
    return parse_outputs(path.read_bytes(), schema, frozenset(expected))


def parse_outputs(data: bytes, schema: OutputSchema, expected: frozenset[str]) -> dict[str, dict[str, Any]]:
    """Parses the bytes of one output file; see `read_outputs`."""
    if b"\0" in data:
        raise OutputError(f"The output {schema.file} contains a NUL byte.")
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    if len(lines) > len(expected):
        raise OutputError(f"The output {schema.file} has {len(lines)} rows; {len(expected)} are expected.")
    rows: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines, 1):
        try:
            row = _parse_line(line)
            _check_row(row, schema, expected)
            if row["id"] in rows:
                raise OutputError(f"the id {_shown(row['id'])} appears a second time")
        except OutputError as error:
            raise OutputError(f"Line {number} of {schema.file}: {error}.") from None
        rows[row["id"]] = row
    missing = sorted(expected - rows.keys())
    if missing:
        shown = ", ".join(map(_shown, missing[:SHOWN_IDS]))
        raise OutputError(
            f"The output {schema.file} lacks {len(missing)} of {len(expected)} expected ids, {shown} among them."
        )
    return rows


def _parse_line(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE_BYTES:
        raise OutputError(f"it has {len(line)} bytes; at most {MAX_LINE_BYTES} are allowed")
    try:
        value = json.loads(line.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise OutputError("it is not valid UTF-8") from None
    except RecursionError:
        raise OutputError("it is nested too deeply") from None
    except OutputError:
        raise
    except ValueError:
        raise OutputError("it is not valid JSON") from None
    if not isinstance(value, dict):
        raise OutputError("it is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise OutputError("a key appears twice in one object")
    return value


def _no_constant(name: str) -> float:
    raise OutputError(f"it contains {name}, which is not a finite number")


def _check_row(row: dict[str, Any], schema: OutputSchema, expected: frozenset[str]) -> None:
    wanted = {"id", *schema.fields}
    if row.keys() != wanted:
        raise OutputError(f"its keys must be exactly {', '.join(sorted(wanted))}")
    if not isinstance(row["id"], str) or row["id"] not in expected:
        raise OutputError(f"the id {_shown(row['id'])} is not one of the expected ids")
    for name, spec in schema.fields.items():
        problem = _problem(row[name], spec)
        if problem:
            raise OutputError(f"the field {name} {problem}")


def _problem(value: Any, spec: FieldSpec) -> str:
    """What is wrong with one value, or ''."""
    if spec.kind == "string":
        return _string_problem(value, spec)
    if spec.kind == "boolean":
        return "" if isinstance(value, bool) else "is not true or false"
    return _number_problem(value, spec)


def _string_problem(value: Any, spec: FieldSpec) -> str:
    if not isinstance(value, str):
        return "is not a string"
    if spec.max_length is not None and len(value) > spec.max_length:
        return f"has {len(value)} characters; at most {spec.max_length} are allowed"
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        return "contains a NUL or half a surrogate pair"
    if spec.choices is not None and value not in spec.choices:
        return f"is not one of the {len(spec.choices)} allowed choices"
    return ""


def _number_problem(value: Any, spec: FieldSpec) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "is not a number"
    if spec.kind == "integer" and not isinstance(value, int):
        return "is not an integer"
    if isinstance(value, float) and not math.isfinite(value):
        return "is not a finite number"
    if (spec.low is not None and value < spec.low) or (spec.high is not None and value > spec.high):
        return "is outside its declared range"
    if abs(value) > 1.7e308:
        return "is too large for a number"
    return ""


def _shown(value: Any) -> str:
    """A short, printable form of an untrusted value."""
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
