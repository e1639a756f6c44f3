"""Turns a rollout's outputs into a score: the evaluator in its own sandbox, its answer checked here.

The evaluator sees the outputs and the labels, and nothing else does. A score comes from its result file alone;
anything missing, malformed or outside the contract is an EvaluatorError, never a number. No sentence quotes a value
that came from the evaluator, because it may be a label; what it was is in the error's log, for operators.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.digests import tree_digest
from loop import outputs
from loop.catalog import Metric, TaskSpec
from loop.errors import EvaluatorError, OutputRejected
from loop.runtimes import Runtime
from loop.sandbox.base import SandboxBackend
from loop.scratch import scratch
from loop.types import Limits, Mount, Outcome, SandboxResult, SandboxSpec, Score

RESULT_FILE = "result.json"
SHIM = Path(__file__).with_name("evaluator_shim.py")
EVALUATOR_LIMITS = Limits(
    wall_s=300.0, cpu_s=300, memory_mib=2048, address_space_mib=8192, out_mib=64, file_mib=32
)
# Of an exception only its class is told: its message may quote a label, and the sentence may reach an agent.
CLASS_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}")
QUOTED = 200


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How one set of outputs is scored. `expected_ids` are the ids that must be answered, each exactly once."""

    evaluator_dir: Path
    labels_dir: Path
    expected_ids: tuple[str, ...]
    task: TaskSpec
    runtime: Runtime
    limits: Limits = EVALUATOR_LIMITS


def score_outputs(backend: SandboxBackend, evaluation: Evaluation, outputs_dir: Path) -> Score:
    """Scores the collected outputs in `outputs_dir`.

    Raises OutputRejected where the outputs break the task's contract, EvaluatorError where the evaluator fails
    or its answer breaks its own, SandboxError where there is no sandbox.
    """
    for folder in (evaluation.evaluator_dir, evaluation.labels_dir):
        if not folder.is_dir():
            raise EvaluatorError(f"{folder} is missing; the task {evaluation.task.id} cannot be scored.")
    before = tree_digest(evaluation.evaluator_dir)
    with scratch("score", outputs_dir.parent) as folder:
        order, collected = folder / "order", folder / "out"
        order.mkdir()
        collected.mkdir()
        _write_order(order, evaluation)
        result = backend.run(_spec(evaluation, order, outputs_dir), collected)
        answer = _read_answer(result, collected / RESULT_FILE)
    if tree_digest(evaluation.evaluator_dir) != before:
        raise EvaluatorError(
            f"The evaluator of {evaluation.task.id} changed while it ran; its score is discarded."
        )
    return check_result(answer, evaluation.task.metric, evaluation.expected_ids)


def check_result(result: Any, metric: Metric, expected_ids: tuple[str, ...]) -> Score:
    """The score in an evaluator's answer {"items": {id: number}, "metrics": {name: number}}.

    Raises EvaluatorError unless there is one finite item in range for each expected id and no other, each declared
    metric is a finite number and no other is there, and the task's own metric is in range.
    """
    if not isinstance(result, dict) or result.keys() != {"items", "metrics"}:
        raise EvaluatorError('The evaluator must return exactly {"items": {...}, "metrics": {...}}.')
    items = _numbers(result["items"], "items", (metric.item_low, metric.item_high))
    metrics = _numbers(result["metrics"], "metrics", (-math.inf, math.inf))
    expected = set(expected_ids)
    lacking, foreign = len(expected - items.keys()), len(items.keys() - expected)
    if lacking or foreign:
        raise EvaluatorError(
            f"The evaluator's items lack {lacking} of the {len(expected)} expected ids and name {foreign} others."
        )
    _check_names(metrics, metric)
    value = metrics[metric.name]
    if not metric.low <= value <= metric.high:
        raise EvaluatorError(
            f"The metric {metric.name} lies outside [{metric.low:g}, {metric.high:g}].", f"it is {value!r}"
        )
    return Score(value=value, items=items, metrics=metrics)


def _check_names(metrics: dict[str, float], metric: Metric) -> None:
    declared = {metric.name, *metric.also}
    missing = sorted(declared - metrics.keys())
    if missing:
        raise EvaluatorError(f"The evaluator returned no metric named {missing[0]}.")
    unknown = sorted(metrics.keys() - declared)
    if unknown:
        raise EvaluatorError(
            f"The evaluator returned {len(unknown)} metrics that task.toml does not declare; name them in "
            "[metric] also, or leave them out.",
            ascii(unknown)[:QUOTED],
        )


def _numbers(value: Any, name: str, bounds: tuple[float, float]) -> dict[str, float]:
    if not isinstance(value, dict):
        raise EvaluatorError(f"The evaluator's {name} are {_kind(value)}, not an object.")
    for key, number in value.items():
        quoted = f"{ascii(key)[:QUOTED]}: {ascii(number)[:QUOTED]}"
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise EvaluatorError(f"The evaluator's {name} hold {_kind(number)}, not a finite number.", quoted)
        if not _is_finite(number):
            raise EvaluatorError(f"The evaluator's {name} hold a number that is not a finite number.", quoted)
        if not bounds[0] <= number <= bounds[1]:
            raise EvaluatorError(
                f"The evaluator's {name} hold a number outside [{bounds[0]:g}, {bounds[1]:g}].", quoted
            )
    return {key: float(number) for key, number in value.items()}


def _is_finite(number: int | float) -> bool:
    """Whether a number is finite, as a float too."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def _kind(value: Any) -> str:
    """What a value from JSON is, without saying which."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    kinds = {str: "a string", list: "a list", dict: "an object"}
    return next((words for kind, words in kinds.items() if isinstance(value, kind)), "a number")


def _write_order(folder: Path, evaluation: Evaluation) -> None:
    shutil.copyfile(SHIM, folder / SHIM.name)
    shutil.copyfile(Path(outputs.__file__), folder / "outputs.py")
    order: Mapping[str, Any] = {
        "schema": evaluation.task.outputs.to_dict(),
        "expected_ids": evaluation.expected_ids,
    }
    (folder / "order.json").write_text(json.dumps(order), encoding="utf-8")


def _spec(evaluation: Evaluation, order: Path, outputs_dir: Path) -> SandboxSpec:
    return SandboxSpec(
        argv=("/venv/bin/python", "-I", f"/pawl/{SHIM.name}"),
        mounts=(
            Mount(order, "/pawl"),
            Mount(evaluation.evaluator_dir, "/evaluator"),
            Mount(evaluation.labels_dir, "/labels"),
            Mount(outputs_dir, "/outputs"),
        ),
        outputs=(RESULT_FILE,),
        limits=evaluation.limits,
        runtime=evaluation.runtime.path,
    )


def _read_answer(result: SandboxResult, path: Path) -> Any:
    """What the shim wrote; raises OutputRejected for a rejection and EvaluatorError for anything unexpected."""
    if result.outcome is not Outcome.OK:
        raise EvaluatorError(f"The evaluator failed: {result.reason}", result.log_tail)
    try:
        answer = json.loads(path.read_bytes(), parse_constant=_no_constant, object_pairs_hook=_unique)
    except FileNotFoundError:
        raise EvaluatorError("The evaluator ended without a result.", result.log_tail) from None
    except (ValueError, RecursionError) as error:
        raise EvaluatorError(f"The evaluator's result cannot be read: {error}.", result.log_tail) from None
    kind, value = next(iter(answer.items())) if isinstance(answer, dict) and len(answer) == 1 else ("", None)
    if kind == "rejected" and isinstance(value, str):
        raise OutputRejected(value)
    if kind == "raised":
        name = value if isinstance(value, str) and CLASS_NAME.fullmatch(value) else "an exception of its own"
        raise EvaluatorError(f"The evaluator failed. It raised {name}.", result.log_tail)
    if kind != "result":
        raise EvaluatorError("The evaluator's result file was not written by its shim.", result.log_tail)
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"it contains {name}, which is not a finite number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return value
