"""Which cluster and which guarded slices an item belongs to, read from the stored hidden rows and nothing else.

The verifier alone calls this on an opened hidden set; an installation calls it once on the data that it stores. No
message quotes a row.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loop.errors import TaskError
from loop.gate import Groups, Guarded
from loop.gate.compare import SMALLEST_SLICE
from loop.gate_spec import Field, SliceSpec

FEWEST_CLUSTERS = 10


@dataclass(frozen=True, slots=True)
class HiddenRows:
    """Where the rows of a hidden set lie: the inputs file, and the folder of label files (*.jsonl).

    `canaries` are the ids among them that count in no score, and so belong to no group.
    """

    inputs: Path
    labels: Path
    canaries: frozenset[str] = frozenset()


def groups_of(rows: HiddenRows, cluster: Field | None, slices: tuple[SliceSpec, ...]) -> Groups:
    """The clusters and guarded slices of the hidden items, by their ids.

    Raises TaskError when an item lacks a field that a slice or the cluster is read from, when a slice is too small to
    be guarded, or when there are too few clusters to compare.
    """
    clusters = _values(rows, cluster) if cluster else None
    if clusters is not None and len(set(clusters.values())) < FEWEST_CLUSTERS:
        raise TaskError(
            f"The hidden set has fewer than {FEWEST_CLUSTERS} clusters by {cluster and cluster.field}; "
            "add sources or leave gate.cluster out."
        )
    guarded = tuple(part for each in slices for part in _guarded(rows, each))
    return Groups(clusters, guarded)


def _guarded(rows: HiddenRows, spec: SliceSpec) -> list[Guarded]:
    values = _values(rows, spec.where)
    sizes = Counter(values.values())
    parts = []
    for value in spec.values or sorted(sizes):
        if sizes[value] < SMALLEST_SLICE:
            raise TaskError(
                f"gate.slices.{spec.name}: a slice has fewer than {SMALLEST_SLICE} hidden items; "
                "merge it with another or do not guard it."
            )
        items = frozenset(key for key, found in values.items() if found == value)
        parts.append(Guarded(f"{spec.name}={value}", items, spec.margin))
    return parts


def _values(rows: HiddenRows, where: Field) -> Mapping[str, str]:
    """Item id to the field's value as text, for every hidden item."""
    files = [rows.inputs] if where.of == "inputs" else sorted(rows.labels.glob("*.jsonl"))
    found: dict[str, str] = {}
    for path in files:
        for row in _rows(path):
            key, value = row.get("id"), row.get(where.field)
            if isinstance(key, str) and key not in rows.canaries and isinstance(value, str | int):
                found[key] = str(value)
    items = {row.get("id") for row in _rows(rows.inputs)} - rows.canaries
    if not items <= found.keys():
        raise TaskError(
            f"Not every hidden item has a text or whole number {where.field!r} in its {where.of}; "
            "gate.slices and gate.cluster need one for each."
        )
    return found


def _rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
