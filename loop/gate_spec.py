"""The `[gate]` table of task.toml: what a task asks of a hidden test, and which slices it guards."""

from __future__ import annotations

from dataclasses import dataclass

from loop.toml_tables import Table

CORRECTIONS = ("budget", "fresh-slice", "open-ended")
PLACES = ("labels", "inputs")
MOST_TRIALS = 25
KEYS = frozenset({"alpha", "smallest_gain", "trials", "correction", "cluster", "slices"})


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the hidden rows: its name, and whether the `labels` or the `inputs` carry it."""

    field: str
    of: str


@dataclass(frozen=True, slots=True)
class SliceSpec:
    """A guarded field: each of its `values` (all, when empty) is a slice; `margin` is in the metric's unit."""

    name: str
    where: Field
    margin: float
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GateSpec:
    """What the task asks for; None leaves it to the policy. `trials` are run per arm with the same seeds."""

    alpha: float | None = None
    smallest_gain: float | None = None
    trials: int = 1
    correction: str = CORRECTIONS[0]
    cluster: Field | None = None
    slices: tuple[SliceSpec, ...] = ()


def read_gate(table: Table) -> GateSpec:
    """The validated table. Raises TaskError with the field and what is wrong with it."""
    table.refuse_unknown(KEYS)
    given = table.values
    alpha = table.number("alpha") if "alpha" in given else None
    if alpha is not None and not 0 < alpha <= 0.5:
        raise table.error("alpha", "must lie above 0 and be at most 0.5")
    smallest_gain = table.number("smallest_gain") if "smallest_gain" in given else None
    if smallest_gain is not None and not 0 <= smallest_gain < float("inf"):
        raise table.error("smallest_gain", "must be 0 or more")
    trials = table.count("trials") if "trials" in given else 1
    if trials > MOST_TRIALS:
        raise table.error("trials", f"must be at most {MOST_TRIALS}")
    slices = table.table("slices", optional=True)
    return GateSpec(
        alpha=alpha,
        smallest_gain=smallest_gain,
        trials=trials,
        correction=table.choice("correction", CORRECTIONS) if "correction" in given else CORRECTIONS[0],
        cluster=_cluster(table.table("cluster")) if "cluster" in given else None,
        slices=tuple(_slice(name, slices.table(name)) for name in sorted(slices.values)),
    )


def _cluster(table: Table) -> Field:
    table.refuse_unknown(frozenset({"field", "of"}))
    return _field(table)


def _field(table: Table) -> Field:
    return Field(table.text("field"), table.choice("of", PLACES))


def _slice(name: str, table: Table) -> SliceSpec:
    table.refuse_unknown(frozenset({"field", "of", "margin", "values"}))
    margin = table.number("margin")
    if not 0 < margin < float("inf"):
        raise table.error("margin", "must be a number above 0, in the metric's unit")
    return SliceSpec(name, _field(table), margin, table.texts("values", optional=True))
