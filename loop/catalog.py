"""Loads a task folder, public half only: nothing here ever opens `hidden/` or `labels/`."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from loop.errors import TaskError, TrainingError
from loop.gate_spec import GateSpec, read_gate
from loop.outputs import FieldSpec, OutputSchema
from loop.sandbox.devices import ALLOWED, GPU
from loop.toml_tables import SLUG, Table
from loop.training.hyper import check_settings
from loop.types import Limits

PUBLIC_SPLITS = ("public-train", "public-val")
SPLITS = (*PUBLIC_SPLITS, "hidden")
DEFAULT_SPLIT = "public-val"
NEEDS = frozenset({"gpu"})
FIELD_KINDS = ("string", "number", "integer", "boolean")
TOP_LEVEL = frozenset({
    "id", "version", "title", "licence", "provenance", "label_secrecy", "redistributable", "needs", "devices",
    "metric", "inputs", "outputs", "model", "splits", "limits", "gate", "preflight", "training",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Metric:
    """The number that a task is about. Scores lie in [low, high]; per-item scores in [item_low, item_high].

    `also` names the further metrics that the evaluator reports; it must report each of them and no other.
    """

    name: str
    maximize: bool
    low: float
    high: float
    item_low: float
    item_high: float
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelNeed:
    """The task model: the name of its base under models/, and the most tokens of one completion."""

    base: str
    max_tokens: int


@dataclass(frozen=True, slots=True)
class PreflightNeed:
    """What a task's own submissions must come to before a campaign may start on it.

    `reference` (of tests/honest) must reach the score `bar`; those in `blind`, which answer without looking, must lie
    within `tolerance` of `base_rate`; no cheat may lie better than that.
    """

    reference: str
    bar: float
    base_rate: float
    tolerance: float
    blind: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A validated task. `folder` holds task.toml and the code, `data` the public data, labels and models.

    `training` holds the hyper-parameters that the task fixes for every weight update.
    `devices` are the device nodes that its harness is shown.
    """

    id: str
    version: str
    title: str
    licence: str
    provenance: str
    label_secrecy: str
    redistributable: str
    needs: tuple[str, ...]
    devices: tuple[str, ...]
    metric: Metric
    inputs_file: str
    outputs: OutputSchema
    model: ModelNeed | None
    splits: Mapping[str, int]
    limits: Limits
    gate: GateSpec
    preflight: PreflightNeed | None
    folder: Path
    data: Path
    training: Mapping[str, Any] = field(default_factory=dict)

    def inputs(self, split: str) -> Path:
        """The folder that a harness sees as /in. Raises TaskError for a split that is not public."""
        return self.data / "public" / _public(split)

    def labels(self, split: str) -> Path:
        """The folder that the evaluator alone sees as /labels. Raises TaskError as `inputs` does."""
        return self.data / "labels" / _public(split)

    def model_dir(self) -> Path:
        """The base model's folder. Raises TaskError for a task without a model."""
        if self.model is None:
            raise TaskError(f"The task {self.id} declares no [model]; it has no base model.")
        return self.data / "models" / self.model.base

    @property
    def evaluator(self) -> Path:
        """The evaluator's folder."""
        return self.folder / "evaluator"

    @property
    def seed(self) -> Path:
        """The seed harness."""
        return self.folder / "seed"

    @property
    def tests(self) -> Path:
        """The honest and cheating submissions with their verdicts; may be missing."""
        return self.folder / "tests"


def load_task(folder: Path, data: Path | None = None) -> TaskSpec:
    """Reads and validates task.toml. `data` is where prepare.py wrote, by default the folder itself.

    Raises TaskError with one sentence that names the file, the field and what is wrong with it.
    """
    path = folder / "task.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TaskError(f"{folder} has no task.toml; a task folder needs one.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise TaskError(f"{path} cannot be read as TOML: {error}.") from None
    table = Table(str(path), "", values)
    table.refuse_unknown(TOP_LEVEL)
    return TaskSpec(
        id=table.slug("id"),
        version=table.text("version"),
        title=table.text("title"),
        licence=table.text("licence"),
        provenance=table.text("provenance"),
        label_secrecy=table.choice("label_secrecy", ("secret", "public")),
        redistributable=table.choice("redistributable", ("yes", "import-only")),
        needs=_needs(table),
        devices=_devices(table),
        metric=_metric(table.table("metric")),
        inputs_file=table.table("inputs").file_name("file"),
        outputs=_outputs(table.table("outputs")),
        model=_model(table.table("model")) if "model" in values else None,
        splits=_splits(table.table("splits")),
        limits=_limits(table.table("limits", optional=True)),
        gate=read_gate(table.table("gate", optional=True)),
        preflight=_preflight(table.table("preflight")) if "preflight" in values else None,
        folder=folder.resolve(),
        data=(data or folder).resolve(),
        training=_training(table.table("training", optional=True), has_model="model" in values),
    )


def read_ids(inputs: Path, file: str) -> tuple[str, ...]:
    """The ids of an inputs file in its order. Raises TaskError where one is missing, no string or not unique."""
    path = inputs / file
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        ids = [json.loads(line)["id"] for line in lines if line.strip()]
    except FileNotFoundError:
        raise TaskError(f"{path} is missing; every split has its inputs there.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TaskError(f"{path} is not one JSON object with an id a line ({error!r}).") from None
    if not ids or not all(isinstance(item, str) and item for item in ids) or len(set(ids)) != len(ids):
        raise TaskError(f"{path} needs at least one line, and in each a string id that is used once.")
    return tuple(ids)


def _public(split: str) -> str:
    if split not in PUBLIC_SPLITS:
        raise TaskError(f"The split {split} is not public; choose {' or '.join(PUBLIC_SPLITS)}.")
    return split


def _needs(table: Table) -> tuple[str, ...]:
    needs = table.texts("needs", optional=True)
    if not NEEDS.issuperset(needs):
        raise table.error("needs", f"may hold only {', '.join(sorted(NEEDS))}")
    return needs


def _devices(table: Table) -> tuple[str, ...]:
    """The device nodes that the harness gets, by name: none without `needs = ["gpu"]`."""
    gpu = "gpu" in _needs(table)
    devices = table.texts("devices", optional=True)
    if devices and not gpu:
        raise table.error("devices", 'may be named only together with needs = ["gpu"]')
    for device in devices:
        if not ALLOWED.fullmatch(device):
            raise table.error("devices", f"may hold only device nodes of a GPU, such as {', '.join(GPU)}")
    return (devices or GPU) if gpu else ()


def _metric(table: Table) -> Metric:
    table.refuse_unknown(frozenset({"name", "direction", "range", "item_range", "also"}))
    low, high = table.interval("range")
    item_low, item_high = table.interval("item_range") if "item_range" in table.values else (low, high)
    maximize = table.choice("direction", ("maximize", "minimize")) == "maximize"
    name, also = table.slug("name"), table.texts("also", optional=True)
    if len({name, *also}) != 1 + len(also) or not all(SLUG.fullmatch(each) for each in also):
        raise table.error("also", "must hold names of other metrics, each once")
    return Metric(name, maximize, low, high, item_low, item_high, also)


def _outputs(table: Table) -> OutputSchema:
    table.refuse_unknown(frozenset({"file", "fields"}))
    declared = table.table("fields")
    if not declared.values or "id" in declared.values:
        raise table.error("fields", "must declare at least one field, and not id, which is always there")
    return OutputSchema(
        table.file_name("file"), {name: _field(declared.table(name)) for name in declared.values}
    )


def _field(table: Table) -> FieldSpec:
    kind = table.choice("type", FIELD_KINDS)
    extra = {"string": {"max_length", "choices"}, "boolean": set()}.get(kind, {"min", "max"})
    table.refuse_unknown(frozenset({"type", *extra}))
    if kind == "string" and not extra & table.values.keys():
        raise table.error("type", "string needs a max_length or choices")
    return FieldSpec(
        kind=kind,
        max_length=table.count("max_length") if "max_length" in table.values else None,
        choices=table.texts("choices") if "choices" in table.values else None,
        low=table.number("min") if "min" in table.values else None,
        high=table.number("max") if "max" in table.values else None,
    )


def _model(table: Table) -> ModelNeed:
    table.refuse_unknown(frozenset({"base", "max_tokens"}))
    return ModelNeed(table.slug("base"), table.count("max_tokens"))


def _preflight(table: Table) -> PreflightNeed:
    table.refuse_unknown(frozenset({"reference", "bar", "base_rate", "tolerance", "blind"}))
    blind = table.texts("blind", optional=True) or ("constant", "random")
    numbers = {name: table.number(name) for name in ("bar", "base_rate", "tolerance")}
    if not all(map(math.isfinite, numbers.values())) or numbers["tolerance"] < 0:
        raise table.error("tolerance", "must not be negative, and no number of the table infinite")
    return PreflightNeed(reference=table.slug("reference"), blind=blind, **numbers)


def _splits(table: Table) -> dict[str, int]:
    table.refuse_unknown(frozenset(SPLITS))
    if DEFAULT_SPLIT not in table.values:
        raise table.error(DEFAULT_SPLIT, "is missing; rollouts are scored on it")
    return {name: table.count(name) for name in table.values}


def _limits(table: Table) -> Limits:
    kinds = {item.name: item.type for item in fields(Limits)}
    table.refuse_unknown(frozenset(kinds))
    chosen: dict[str, Any] = {
        name: table.number(name) if kinds[name] == "float" else table.count(name) for name in table.values
    }
    if any(value <= 0 or not math.isfinite(value) for value in chosen.values()):
        raise table.error("", "must hold positive numbers only")
    return Limits(**chosen)


def _training(table: Table, *, has_model: bool) -> dict[str, Any]:
    if table.values and not has_model:
        raise table.error("", "is of no use without a [model]; remove it or declare the model")
    try:
        return check_settings(table.values)
    except TrainingError as error:
        raise TaskError(f"{table.path}: [training]: {error}") from None
