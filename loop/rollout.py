"""One rollout: a harness in a sandbox on the inputs of one split, and what came of it.

The harness sees its own tree, the inputs, scratch space and the task model. Its outputs are scored elsewhere,
by the evaluator (loop/scoring.py); nothing that it prints or writes is taken for a score.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from loop.catalog import TaskSpec
from loop.errors import EvaluatorError, HarnessError, Outage, OutputRejected, SandboxError
from loop.gateway import TASK_MODEL, GatewayLimits, GatewaySession, Memory, Upstream, open_gateway
from loop.harness_tree import check_folder
from loop.runtimes import Runtime
from loop.sandbox import chosen_name, get_backend
from loop.sandbox.base import SandboxBackend
from loop.sandbox.command import RELAY_PORT
from loop.scoring import Evaluation, score_outputs
from loop.scratch import scratch
from loop.types import ModelCall, Mount, Outcome, OutputFile, Probe, SandboxResult, SandboxSpec, Score, Usage

OUTAGE_SHARE = 0.02
PLACEHOLDER_KEY = "none"


@dataclass(frozen=True, slots=True)
class RolloutRequest:
    """What to run. `inputs` becomes /in; without `evaluation` there is no score; without `upstream` no model.

    `workdir` is an existing folder; the collected outputs stay in its subfolder `outputs`. `on_session` is given
    the open gateway session, to show progress from. `memory` answers model calls from a record or a cache.
    """

    task: TaskSpec
    harness: Path
    inputs: Path
    runtime: Runtime
    workdir: Path
    seed: int = 0
    evaluation: Evaluation | None = None
    upstream: Upstream | None = None
    gateway_limits: GatewayLimits = field(default_factory=GatewayLimits)
    on_session: Callable[[GatewaySession], None] | None = None
    memory: Memory = field(default_factory=Memory)


@dataclass(frozen=True, slots=True)
class RolloutReport:
    """What came of a rollout. `score` is None unless the outcome is OK and the evaluator gave one.

    `log_tail` is untrusted text with control characters escaped. `evaluator_error` is the sentence of an
    evaluator that failed on outputs that kept their contract; `evaluator_log` may quote labels and is for
    operators, never for an agent.
    """

    outcome: Outcome
    reason: str
    score: Score | None
    log_tail: str
    usage: Usage
    outputs: tuple[OutputFile, ...]
    calls: tuple[ModelCall, ...]
    probe: Probe
    evaluator_error: str = ""
    evaluator_log: str = ""

    def to_json(self) -> dict[str, Any]:
        """The object that `manage.py rollout --json` prints."""
        usage = self.usage
        return {
            "outcome": self.outcome.value,
            "reason": self.reason,
            "score": self.score.value if self.score else None,
            "metrics": dict(self.score.metrics) if self.score else {},
            "items": dict(self.score.items) if self.score else {},
            "log_tail": self.log_tail,
            "usage": {name: getattr(usage, name) for name in Usage.__slots__},
            "outputs": [
                {"name": file.name, "size": file.size, "sha256": file.sha256} for file in self.outputs
            ],
            "sandbox": self.sandbox(),
        }

    def sandbox(self) -> dict[str, Any]:
        """Where it ran: the backend and what its probe found, as every score's provenance records it."""
        return {"backend": self.probe.backend, "ok": self.probe.ok, **self.probe.facts}


def run_rollout(request: RolloutRequest, backend: SandboxBackend | None = None) -> RolloutReport:
    """Runs the harness once and scores what it wrote.

    Whatever the harness does, and a sandbox that cannot be used, is an outcome of the report. Raises Outage when the
    task model could not be reached: that says nothing about the harness.
    """
    try:
        backend = backend or get_backend()
    except SandboxError as error:
        return _no_run(Outcome.SANDBOX_ERROR, str(error), Probe(chosen_name(), False, str(error)))
    probe = backend.probe()
    try:
        check_folder(request.harness)
        report = _run(request, backend, probe)
    except HarnessError as error:
        return _no_run(Outcome.HARNESS_FAILED, str(error), probe)
    except SandboxError as error:
        return _no_run(Outcome.SANDBOX_ERROR, str(error), probe)
    if report.outcome is not Outcome.OK or request.evaluation is None:
        return report
    return _scored(report, backend, request.evaluation, request.workdir / "outputs")


def _run(request: RolloutRequest, backend: SandboxBackend, probe: Probe) -> RolloutReport:
    outputs = request.workdir / "outputs"
    shutil.rmtree(outputs, ignore_errors=True)
    outputs.mkdir()
    with scratch("llm") as folder, _gateway(request, folder) as session:
        if session is not None and request.on_session is not None:
            request.on_session(session)
        result = _sandboxed(backend, _spec(request, folder / "llm.sock" if session else None), outputs)
    if session is None:
        return _report(result, probe, ())
    calls = tuple(session.calls)
    model_calls, tokens, cost_usd = session.usage()
    _refuse_outage(calls, tokens, cost_usd)
    result = _blame_budget(result, session.limit_hit)
    usage = replace(result.usage, model_calls=model_calls, tokens=tokens, cost_usd=cost_usd)
    return _report(replace(result, usage=usage), probe, calls)


def _sandboxed(backend: SandboxBackend, spec: SandboxSpec, outputs: Path) -> SandboxResult:
    """The run, or how the sandbox failed under it: calls that were made by then still count."""
    try:
        return backend.run(spec, outputs)
    except SandboxError as error:
        return SandboxResult(Outcome.SANDBOX_ERROR, str(error), None, "", Usage())


def _gateway(request: RolloutRequest, folder: Path) -> AbstractContextManager[GatewaySession | None]:
    if request.upstream is None:
        return nullcontext()
    socket = folder / "llm.sock"
    return open_gateway(socket, request.upstream, request.gateway_limits, request.seed, request.memory)


def _spec(request: RolloutRequest, socket: Path | None) -> SandboxSpec:
    env = {
        "HARNESS_IN": "/in",
        "HARNESS_OUT": "/out",
        "HARNESS_WORK": "/scratch",
        "HARNESS_SEED": str(request.seed),
    }
    return SandboxSpec(
        argv=("/venv/bin/python", "-I", "/harness/main.py"),
        mounts=(Mount(request.harness, "/harness"), Mount(request.inputs, "/in")),
        outputs=(request.task.outputs.file,),
        limits=request.task.limits,
        env=env | (_model_env() if socket else {}),
        runtime=request.runtime.path,
        socket=socket,
        devices=request.task.devices,
    )


def _model_env() -> dict[str, str]:
    """What ordinary clients need to find the relay; the key only satisfies clients that insist on one."""
    address = f"http://127.0.0.1:{RELAY_PORT}"
    return {
        "OPENAI_BASE_URL": f"{address}/v1",
        "ANTHROPIC_BASE_URL": address,
        "OPENAI_API_KEY": PLACEHOLDER_KEY,
        "ANTHROPIC_API_KEY": PLACEHOLDER_KEY,
        "TASK_MODEL": TASK_MODEL,
    }


def _refuse_outage(calls: tuple[ModelCall, ...], tokens: int, cost_usd: float) -> None:
    """An unreachable model is no result: more than a few failed calls void the rollout."""
    failed = [call for call in calls if call.status >= 500]
    if len(failed) > OUTAGE_SHARE * len(calls):
        raise Outage(
            f"{len(failed)} of {len(calls)} model calls failed, the first with: {failed[0].error} "
            "The rollout is void; run it again when the model answers.",
            tokens,
            cost_usd,
        )


def _blame_budget(result: SandboxResult, limit_hit: str) -> SandboxResult:
    """A harness that failed after a refused call failed because of its budget."""
    if not limit_hit or result.outcome is not Outcome.HARNESS_FAILED:
        return result
    return replace(result, outcome=Outcome.LIMIT, reason=f"{limit_hit} {result.reason}")


def _scored(
    report: RolloutReport, backend: SandboxBackend, evaluation: Evaluation, outputs: Path
) -> RolloutReport:
    try:
        return replace(report, score=score_outputs(backend, evaluation, outputs))
    except OutputRejected as error:
        return replace(report, outcome=Outcome.OUTPUT_REJECTED, reason=str(error))
    except EvaluatorError as error:
        return replace(report, reason=str(error), evaluator_error=str(error), evaluator_log=error.log_tail)
    except SandboxError as error:
        return replace(report, outcome=Outcome.SANDBOX_ERROR, reason=str(error))


def _report(result: SandboxResult, probe: Probe, calls: tuple[ModelCall, ...]) -> RolloutReport:
    return RolloutReport(
        outcome=result.outcome,
        reason=result.reason,
        score=None,
        log_tail=result.log_tail,
        usage=result.usage,
        outputs=result.outputs,
        calls=calls,
        probe=probe,
    )


def _no_run(outcome: Outcome, reason: str, probe: Probe) -> RolloutReport:
    return _report(SandboxResult(outcome, reason, None, "", Usage()), probe, ())
