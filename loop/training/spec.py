"""One training job as a value: what a training process is told, on one machine or on many."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from governance.digests import json_digest
from loop.errors import TrainingError
from loop.training.hyper import Hyper, resolve

PLACES = frozenset({"base_dir", "parent_adapter_dir", "dataset_path", "reward_socket", "out_dir"})


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """{base, parent adapter, algorithm, hyper-parameters, data digests, seed, budget} -> an adapter folder.

    Paths are absolute. `budget_s` is wall seconds. `dataset_path` is a JSON-lines file of {"prompt": messages,
    "item_id"}. `reward_socket` is a unix socket that answers reward requests (see loop.training.rewards).
    """

    base_dir: str
    base_digest: str
    algorithm: str
    dataset_path: str
    dataset_digest: str
    reward_socket: str
    seed: int
    budget_s: float
    out_dir: str
    hyper: Mapping[str, Any] = field(default_factory=dict)
    parent_adapter_dir: str | None = None
    parent_digest: str | None = None
    trajectory_digests: tuple[str, ...] = ()

    def resolved(self) -> Hyper:
        """Every hyper-parameter of the job. Raises TrainingError for an unknown algorithm or setting."""
        return resolve(self.algorithm, self.hyper)

    def identity(self) -> str:
        """Digest of what determines the adapter: everything but where things lie and how long it may take."""
        values = {name: value for name, value in asdict(self).items() if name not in PLACES | {"budget_s"}}
        values["hyper"] = asdict(self.resolved())
        values["trajectory_digests"] = list(self.trajectory_digests)
        return json_digest(values)

    def to_json(self) -> str:
        """The specification as indented JSON."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"


def spec_from_json(text: str) -> TrainingSpec:
    """Parse what `to_json` wrote. Raises TrainingError when a field is missing, unknown or of the wrong type."""
    try:
        values = json.loads(text)
    except ValueError as error:
        raise TrainingError(f"The training specification is not JSON: {error}.") from error
    if not isinstance(values, dict):
        raise TrainingError("The training specification must be one JSON object.")
    known = {item.name for item in fields(TrainingSpec)}
    if extra := sorted(values.keys() - known):
        raise TrainingError(f"The training specification has unknown fields: {', '.join(extra)}.")
    values["trajectory_digests"] = tuple(values.get("trajectory_digests", ()))
    try:
        spec = TrainingSpec(**values)
    except TypeError as error:
        raise TrainingError(f"The training specification is incomplete: {error}.") from error
    _check(spec)
    return spec


def _check(spec: TrainingSpec) -> None:
    for name in ("base_dir", "dataset_path", "out_dir"):
        if not Path(getattr(spec, name)).is_absolute():
            raise TrainingError(f"The field {name} of the training specification must be an absolute path.")
    if type(spec.seed) is not int or spec.seed < 0 or spec.seed >= 2**32:
        raise TrainingError(f"The training seed must be an integer in [0, 2^32), got {spec.seed!r}.")
    if not isinstance(spec.budget_s, int | float) or spec.budget_s <= 0:
        raise TrainingError(
            f"The training budget must be a positive number of seconds, got {spec.budget_s!r}."
        )
    if (spec.parent_adapter_dir is None) != (spec.parent_digest is None):
        raise TrainingError("A parent adapter needs both its folder and its digest.")
    spec.resolved()
