"""`manage.py rollout`: runs one harness once on one task, in the sandbox, and prints what came of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from deploy.cli import PawlCommand
from loop.catalog import DEFAULT_SPLIT, PUBLIC_SPLITS, TaskSpec, load_task, read_ids
from loop.gateway import GatewayLimits, Upstream
from loop.preparation import prepared_data
from loop.rollout import RolloutReport, RolloutRequest, run_rollout
from loop.runtimes import ensure_runtime
from loop.scoring import Evaluation
from loop.serving.manager import serve
from loop.types import Outcome

MODEL_KEY_VARIABLE = "PAWL_MODEL_API_KEY"


class Command(PawlCommand):
    """Needs no database: the task comes from a folder, and nothing is recorded."""

    help = "Run a harness once on a task, in the sandbox, and print its outcome and score."
    example = (
        "python3 manage.py rollout digits --harness tasks/digits/seed\n"
        "  python3 manage.py rollout --task-dir ~/my-task --harness ~/my-harness --json\n\n"
        "The exit status is 0 when the rollout was carried out, whatever its outcome."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("task", nargs="?", help="a bundled task's name (a folder below tasks/)")
        parser.add_argument("--task-dir", type=Path, help="any task folder, instead of a name")
        parser.add_argument("--harness", type=Path, required=True, help="the harness folder, with main.py")
        parser.add_argument("--split", choices=PUBLIC_SPLITS, default=DEFAULT_SPLIT)
        parser.add_argument("--seed", type=int, default=0, help="given to the harness as HARNESS_SEED")
        parser.add_argument(
            "--model-url", help="an OpenAI-compatible endpoint, instead of the task's own model"
        )
        parser.add_argument("--model", help="the model's name at --model-url")

    def handle(self, *args: Any, **options: Any) -> None:
        with tempfile.TemporaryDirectory(prefix="sbx-") as workdir:
            report = run_rollout(_request(options, Path(workdir)))
        self.emit(report.to_json(), _summary(report))
        if report.outcome is Outcome.SANDBOX_ERROR:
            raise CommandError(report.reason)


def _request(options: dict[str, Any], workdir: Path) -> RolloutRequest:
    """The request that the command line asks for. Raises CommandError or LoopError."""
    task = _task(options)
    harness = options["harness"].expanduser()
    if not harness.is_dir():
        raise CommandError(f"The harness folder {harness} does not exist.")
    inputs, home = task.inputs(options["split"]), Path(settings.PAWL_HOME)
    evaluation = Evaluation(
        evaluator_dir=task.evaluator,
        labels_dir=task.labels(options["split"]),
        expected_ids=read_ids(inputs, task.inputs_file),
        task=task,
        runtime=ensure_runtime(_requirements(task.evaluator), home / "runtimes"),
    )
    return RolloutRequest(
        task=task,
        harness=harness,
        inputs=inputs,
        runtime=ensure_runtime(_requirements(harness) or _requirements(task.seed), home / "runtimes"),
        workdir=workdir,
        seed=options["seed"],
        evaluation=evaluation,
        upstream=_upstream(options, task, home),
        gateway_limits=GatewayLimits(max_completion_tokens=task.model.max_tokens)
        if task.model
        else GatewayLimits(),
    )


def _task(options: dict[str, Any]) -> TaskSpec:
    if bool(options["task"]) == bool(options["task_dir"]):
        raise CommandError("Name a bundled task or give --task-dir, one of the two.")
    folder = options["task_dir"] or Path(settings.REPO) / "tasks" / options["task"]
    folder = folder.expanduser()
    load_task(folder)
    return load_task(folder, prepared_data(folder, Path(settings.PAWL_HOME) / "prepared"))


def _requirements(folder: Path) -> Path | None:
    path = folder / "requirements.txt"
    return path if path.is_file() else None


def _upstream(options: dict[str, Any], task: TaskSpec, home: Path) -> Upstream | None:
    if bool(options["model_url"]) != bool(options["model"]):
        raise CommandError("--model-url and --model belong together; give both or neither.")
    if task.model is None:
        if options["model_url"]:
            raise CommandError(f"The task {task.id} has no model; leave --model-url out.")
        return None
    if options["model_url"]:
        key = os.environ.get(MODEL_KEY_VARIABLE, "")
        return Upstream(options["model_url"], options["model"], api_key=key)
    served = serve(task.model_dir(), home / "serving")
    return Upstream(served.base_url, served.model)


def _summary(report: RolloutReport) -> str:
    lines = [f"outcome   {report.outcome.value}"]
    if report.reason:
        lines.append(f"reason    {report.reason}")
    lines.append(f"score     {report.score.value:.4f}" if report.score else "score     none")
    if report.score:
        lines += [f"metric    {name} = {value:.4f}" for name, value in sorted(report.score.metrics.items())]
    usage = report.usage
    if usage.wall_s is not None:
        lines.append(
            f"usage     {usage.wall_s:.2f} s wall, {usage.cpu_s or 0:.2f} s cpu, {usage.peak_mib or 0:.0f} MiB peak, "
            f"{usage.processes} processes, {usage.model_calls} model calls, {usage.tokens} tokens, "
            f"${usage.cost_usd:.4f}"
        )
    lines += [
        f"output    {file.name}  {file.size} bytes  sha256 {file.sha256[:16]}" for file in report.outputs
    ]
    if report.outcome is not Outcome.OK and report.log_tail:
        lines += ["log", *_quoted(report.log_tail)]
    if report.evaluator_log:
        lines += ["evaluator", *_quoted(report.evaluator_log)]
    return "\n".join(lines)


def _quoted(log: str) -> list[str]:
    return [f"  | {line}" for line in log.strip().splitlines()[-12:]]
