"""What is written beside an adapter: where it came from, exactly. No torch here: anyone can check a manifest."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from governance.digests import tree_digest
from governance.errors import BadInput
from loop.errors import TrainingError
from loop.training.spec import TrainingSpec

LIBRARIES = ("torch", "transformers", "peft", "trl", "accelerate", "datasets", "safetensors", "numpy")
ADAPTER_FILES = frozenset({"adapter_config.json", "adapter_model.safetensors"})


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide what an adapter becomes."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def build_manifest(spec: TrainingSpec, adapter_dir: Path, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a finished job. `metrics` is the summary of the run: JSON values only."""
    return {
        "schema": 1,
        "adapter_digest": adapter_digest(adapter_dir),
        "base_digest": spec.base_digest,
        "parent_digest": spec.parent_digest,
        "algorithm": spec.algorithm,
        "hyper": asdict(spec.resolved()),
        "seed": spec.seed,
        "dataset_digest": spec.dataset_digest,
        "trajectory_digests": list(spec.trajectory_digests),
        "spec_identity": spec.identity(),
        "libraries": versions(),
        "metrics": dict(metrics),
    }


def adapter_digest(folder: Path) -> str:
    """Tree digest of an adapter folder. Raises TrainingError unless it holds exactly the two adapter files."""
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if found != ADAPTER_FILES:
        raise TrainingError(
            f"The adapter folder {folder} must hold exactly {sorted(ADAPTER_FILES)}, it holds {sorted(found)}."
        )
    try:
        return tree_digest(folder)
    except BadInput as error:
        raise TrainingError(f"The adapter folder {folder} cannot be digested: {error}") from error


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a killed process leaves the old file or the new one, never a part."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w") as handle:
        handle.write(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(path)


def read_finished(spec: TrainingSpec) -> dict[str, Any] | None:
    """The manifest of an earlier run of the same job in the same folder, or None when there is no finished one.

    Raises TrainingError when the folder holds another job's result, or an adapter that is not the manifest's.
    """
    path = Path(spec.out_dir) / "manifest.json"
    if not path.is_file():
        return None
    manifest = json.loads(path.read_text())
    if manifest.get("spec_identity") != spec.identity():
        raise TrainingError(
            f"The folder {spec.out_dir} holds the result of another training job; use a new one."
        )
    if manifest.get("adapter_digest") != adapter_digest(Path(spec.out_dir) / "adapter"):
        raise TrainingError(
            f"The adapter in {spec.out_dir} is not the one its manifest names; remove the folder."
        )
    return dict(manifest)
