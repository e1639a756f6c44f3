"""Records of rollouts: everything that is needed to run one again with the model answered from the record alone.

A record is a folder that `rollout --record` wrote: `record.json` (what was run, on what, and what came of it),
`calls.jsonl` (one model call a line) and `harness/` (the harness as it was).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from governance.digests import json_digest, tree_digest
from loop.errors import TaskError
from loop.gateway import GatewayLimits, Upstream
from loop.rollout import RolloutReport, RolloutRequest
from loop.types import ModelCall, OutputFile

FORMAT = 1
RECORD, CALLS, HARNESS = "record.json", "calls.jsonl", "harness"
NOBODY = "http://record.invalid"


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded run. `run` is its name, `digests` what it ran on: harness, inputs, evaluator, runtime."""

    run: str
    split: str
    seed: int
    outcome: str
    score: float | None
    outputs: tuple[OutputFile, ...]
    calls: tuple[ModelCall, ...]
    limits: GatewayLimits
    has_model: bool
    digests: Mapping[str, str]
    task_dir: str = ""

    def upstream(self) -> Upstream | None:
        """The model as the record names it, at an address that no one can ask; None for a run without a model."""
        if not self.has_model:
            return None
        asked = next((call for call in self.calls if "model" in call.request), None)
        return Upstream(
            base_url=NOBODY,
            served_model=str(asked.request["model"]) if asked else "none",
            base_model=asked.base_model if asked else "",
            adapter_digest=asked.adapter_digest if asked else "",
        )


def outputs_digest(outputs: tuple[OutputFile, ...]) -> str:
    """One digest over the names and contents of all collected outputs."""
    return json_digest({each.name: each.sha256 for each in outputs})


def digests_of(request: RolloutRequest) -> dict[str, str]:
    """What a rollout ran on."""
    return {
        "harness": tree_digest(request.harness),
        "inputs": tree_digest(request.inputs),
        "evaluator": tree_digest(request.evaluation.evaluator_dir) if request.evaluation else "",
        "runtime": request.runtime.digest,
    }


def write_recording(folder: Path, request: RolloutRequest, report: RolloutReport, split: str) -> None:
    """Write the record of a rollout into `folder`. Raises TaskError when that already holds something."""
    check_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(request.harness, folder / HARNESS, symlinks=True)
    head = {
        "format": FORMAT,
        "split": split,
        "seed": request.seed,
        "outcome": report.outcome.value,
        "score": report.score.value if report.score else None,
        "outputs": [asdict(each) for each in report.outputs],
        "limits": asdict(request.gateway_limits),
        "has_model": request.upstream is not None,
        "digests": digests_of(request),
        "task_dir": str(request.task.folder),
    }
    lines = [json.dumps(asdict(call)) + "\n" for call in report.calls]
    (folder / CALLS).write_text("".join(lines), encoding="utf-8")
    (folder / RECORD).write_text(json.dumps(head, indent=2) + "\n", encoding="utf-8")


def check_free(folder: Path) -> None:
    """Raise TaskError unless a record can be written to `folder`: it is absent or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TaskError(f"{folder} already holds something; name a new folder for the record.")


def read_recording(folder: Path) -> Recording:
    """The record in a folder. Raises TaskError when it is not one."""
    try:
        head = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if head["format"] != FORMAT:
            raise ValueError(f"format {head['format']} is not {FORMAT}")
        calls = (folder / CALLS).read_text(encoding="utf-8").splitlines()
        return Recording(
            run=str(folder),
            outputs=tuple(OutputFile(**each) for each in head["outputs"]),
            calls=tuple(_call(json.loads(line)) for line in calls),
            limits=GatewayLimits(**head["limits"]),
            **{name: head[name] for name in HEAD},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TaskError(
            f"{folder} holds no record of a rollout ({type(error).__name__}: {error})."
        ) from error


HEAD = ("split", "seed", "outcome", "score", "has_model", "digests", "task_dir")


def _call(values: Any) -> ModelCall:
    return ModelCall(**{each.name: values[each.name] for each in fields(ModelCall)})
