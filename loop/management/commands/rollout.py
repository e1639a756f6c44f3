"""`manage.py rollout`: runs one harness once on one task, in the sandbox, or again from its record."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from deploy.cli import PawlCommand
from governance.digests import tree_digest
from loop.agents.config import provider_at
from loop.catalog import DEFAULT_SPLIT, PUBLIC_SPLITS, TaskSpec, load_task, read_ids
from loop.errors import TaskError
from loop.gateway import GatewayLimits, Memory, Upstream
from loop.preparation import prepared_data
from loop.prices import Prices
from loop.recordings import HARNESS, check_free, digests_of, read_recording, write_recording
from loop.replays import Replay, recording_of, replay, stored_request, stored_run
from loop.rollout import RolloutReport, RolloutRequest, run_rollout
from loop.rollouts import reply_cache
from loop.runtimes import ensure_runtime
from loop.scoring import Evaluation
from loop.serving.manager import serve
from loop.types import Outcome

MODEL_KEY_VARIABLE = "PAWL_MODEL_API_KEY"


class Command(PawlCommand):
    """Needs no database, except to replay a stored rollout: the task comes from a folder, nothing is stored."""

    help = "Run a harness once on a task, in the sandbox, and print its outcome and score; or replay a recorded run."
    example = (
        "python3 manage.py rollout digits --harness tasks/digits/seed --record /tmp/run\n"
        "  python3 manage.py rollout --replay /tmp/run\n"
        "  python3 manage.py rollout --replay 3f9c2a71be04     (a rollout of a campaign; its page shows this)\n"
        "  python3 manage.py rollout --task-dir ~/my-task --harness ~/my-harness --json\n\n"
        "The exit status is 0 when the rollout was carried out, whatever its outcome, and 1 when a replay is not exact."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("task", nargs="?", help="a bundled task's name (a folder below tasks/)")
        parser.add_argument("--task-dir", type=Path, help="any task folder, instead of a name")
        parser.add_argument("--harness", type=Path, help="the harness folder, with main.py")
        parser.add_argument("--split", choices=PUBLIC_SPLITS, default=DEFAULT_SPLIT)
        parser.add_argument("--seed", type=int, default=0, help="given to the harness as HARNESS_SEED")
        parser.add_argument(
            "--model-url", help="an OpenAI-compatible endpoint, instead of the task's own model"
        )
        parser.add_argument("--model", help="the model's name at --model-url")
        parser.add_argument(
            "--price",
            nargs=2,
            type=float,
            metavar=("IN", "OUT"),
            help="US dollars per million tokens of --model, where no provider's file has them; 0 0 for your own",
        )
        parser.add_argument("--cost-usd", type=float, help="the most that the rollout may cost")
        parser.add_argument(
            "--cache", action="store_true", help="answer repeated model calls from the data home's cache"
        )
        parser.add_argument(
            "--record", type=Path, metavar="DIR", help="write the run's record to a new folder"
        )
        parser.add_argument(
            "--replay", metavar="RUN", help="run again from a record: its folder, or a stored rollout's key"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with tempfile.TemporaryDirectory(prefix="sbx-") as workdir:
            if options["replay"]:
                self._replay(options, Path(workdir))
            else:
                self._run(options, Path(workdir))

    def _run(self, options: dict[str, Any], workdir: Path) -> None:
        if options["harness"] is None:
            raise CommandError("Name the harness folder with --harness.")
        record = options["record"].expanduser() if options["record"] else None
        if record:
            check_free(record)
        request = live_request(options, workdir)
        report = run_rollout(request)
        data, text = report.to_json(), _summary(report)
        if record and report.outcome is not Outcome.SANDBOX_ERROR:
            write_recording(record, request, report, options["split"])
            data["record"] = str(record)
            text += f"\nrecord    {record}  (repeat it: python3 manage.py rollout --replay {record})"
        self.emit(data, text)
        if report.outcome is Outcome.SANDBOX_ERROR:
            raise CommandError(report.reason)

    def _replay(self, options: dict[str, Any], workdir: Path) -> None:
        if options["record"] or options["cache"] or options["model_url"]:
            raise CommandError(
                "A replay answers from its record alone; leave --record, --cache and --model-url out."
            )
        done = replay_of(options, workdir)
        found = done.differences()
        verdict = "exact: same calls, outputs and score" if not found else "diverged"
        lines = [_summary(done.report), f"replay    {verdict}", *(f"  | {each}" for each in found)]
        self.emit({**done.report.to_json(), "replay": done.to_json()}, "\n".join(lines))
        if found:
            raise CommandError(f"The replay of {done.recording.run[:64]} is not exact: {found[0]}")


def replay_of(options: dict[str, Any], workdir: Path) -> Replay:
    """Carry out the replay that the command line asks for. Raises CommandError or LoopError."""
    folder = Path(options["replay"]).expanduser()
    if not folder.is_dir():
        row = stored_run(options["replay"])
        with stored_request(row, workdir) as request:
            return replay(recording_of(row), _with_harness(request, options["harness"]))
    recording = read_recording(folder)
    if not options["task"] and not options["task_dir"]:
        options = {**options, "task_dir": Path(recording.task_dir)}
    options = {**options, "split": recording.split, "seed": recording.seed}
    request = request_of({**options, "harness": options["harness"] or folder / HARNESS}, workdir)
    now = digests_of(request)
    changed = [name for name in ("inputs", "evaluator", "runtime") if now[name] != recording.digests[name]]
    if changed:
        raise TaskError(
            f"The {' and the '.join(changed)} of {request.task.id} changed since {folder} was recorded; a replay "
            "would not show what the harness did then."
        )
    return replay(recording, request)


def _with_harness(request: RolloutRequest, harness: Path | None) -> RolloutRequest:
    return request if harness is None else replace(request, harness=_existing(harness))


def _existing(harness: Path) -> Path:
    harness = harness.expanduser()
    if not harness.is_dir():
        raise CommandError(f"The harness folder {harness} does not exist.")
    return harness


def live_request(options: dict[str, Any], workdir: Path) -> RolloutRequest:
    """The request with its model. Raises CommandError or LoopError."""
    request = request_of(options, workdir)
    limits = replace(request.gateway_limits, max_cost_usd=options["cost_usd"])
    memory = Memory(cache=reply_cache() if options["cache"] else None)
    upstream = _upstream(options, request.task, Path(settings.PAWL_HOME))
    return replace(request, upstream=upstream, gateway_limits=limits, memory=memory)


def request_of(options: dict[str, Any], workdir: Path) -> RolloutRequest:
    """The request that the command line asks for, without a model. Raises CommandError or LoopError."""
    harness = _existing(options["harness"])
    task = _task(options)
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
    if options["price"] and not options["model"]:
        raise CommandError("--price belongs to --model; the task's own model costs nothing.")
    if task.model is None:
        if options["model_url"]:
            raise CommandError(f"The task {task.id} has no model; leave --model-url out.")
        return None
    if options["model_url"]:
        return _elsewhere(options, home)
    served = serve(task.model_dir(), home / "serving")
    return Upstream(served.base_url, served.model, base_model=tree_digest(task.model_dir()))


def _elsewhere(options: dict[str, Any], home: Path) -> Upstream:
    """A model at an address of the operator's; its prices come from the command line or a provider's file."""
    url, model = options["model_url"], options["model"]
    provider = provider_at(url, home)
    if options["price"]:
        prices = Prices(*options["price"])
    elif provider is not None:
        prices = provider.model(model).prices
    else:
        raise CommandError(
            f"There are no prices for the model {model!r} at {url}: add --price IN OUT (0 0 for a server of your own) "
            "or a provider's file in agents/providers of the data home."
        )
    variable = provider.key_env if provider and not os.environ.get(MODEL_KEY_VARIABLE) else MODEL_KEY_VARIABLE
    field = provider.max_tokens_field if provider else "max_tokens"
    key = os.environ.get(variable, "")
    return Upstream(url, model, api_key=key, prices=prices, max_tokens_field=field)


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
