"""Runs a task's own submissions in the real sandbox on public-val, as a campaign would run them."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from governance.digests import json_digest
from loop import preflight
from loop.agents.settings_file import SETTINGS, write_values
from loop.catalog import DEFAULT_SPLIT, PUBLIC_SPLITS, TaskSpec
from loop.errors import EvaluatorError, HarnessError
from loop.gateway import GatewayLimits, Upstream
from loop.preflight import SCREENED, Check, Ended, Verdict
from loop.repos import read_tree
from loop.rollout import RolloutReport, RolloutRequest, run_rollout
from loop.runtimes import Runtime
from loop.sandbox import get_backend
from loop.scoring import Evaluation, score_outputs
from loop.scratch import scratch
from loop.screen import screen
from loop.types import Score

AT_ONCE = 2
Say = Callable[[Check], None]


@dataclass(frozen=True, slots=True)
class Stand:
    """Everything that a submission of one task needs to run; without `upstream` there is no model."""

    task: TaskSpec
    inputs: Callable[[str], Path]
    evaluation: Evaluation
    runtime: Runtime
    upstream: Upstream | None
    gateway_limits: GatewayLimits


def public_checks(stand: Stand, say: Say) -> list[Check]:
    """Every check that needs no hidden data, in the order of tests/expected.toml; each is told to `say` once made.

    Raises TaskError where task.toml or tests/expected.toml cannot be used, SandboxError and ProviderError where
    the sandbox or the task model cannot.
    """
    task = stand.task
    need, verdicts = preflight.needed(task), preflight.read_verdicts(task)
    get_backend()
    checks = [_splits(stand)]
    say(checks[0])
    scores: dict[str, float | None] = {}
    with ThreadPoolExecutor(1 if "gpu" in task.needs else AT_ONCE) as pool:
        jobs = [pool.submit(_seed, stand), pool.submit(_empty, stand)]
        jobs += [pool.submit(examine, stand, verdict) for verdict in verdicts]
        for job in as_completed(jobs):
            for check in job.result()[0]:
                say(check)
    for job, verdict in zip(jobs, (None, None, *verdicts), strict=True):
        found, score = job.result()
        checks += found
        if verdict is not None and verdict.kind == preflight.HONEST:
            scores[verdict.name] = score
    last = [preflight.judge_reference(need.reference, scores.get(need.reference), task)]
    last += [preflight.judge_blind(name, scores.get(name), task) for name in need.blind]
    for check in last:
        say(check)
    return checks + last


def _splits(stand: Stand) -> Check:
    clock, task = Clock(), stand.task
    declared = [name for name in PUBLIC_SPLITS if name in task.splits]
    rows = {name: rows_of(stand.inputs(name), task.inputs_file) for name in declared}
    return clock.on(preflight.judge_splits(rows, task.splits))


def rows_of(inputs: Path, file: str) -> list[tuple[str, str]]:
    """(id, digest of everything but the id) of each row; the digest is empty where a row holds nothing else."""
    rows = [json.loads(line) for line in (inputs / file).read_text(encoding="utf-8").splitlines()]
    rests = [{key: value for key, value in row.items() if key != "id"} for row in rows]
    return [(row["id"], json_digest(rest) if rest else "") for row, rest in zip(rows, rests, strict=True)]


def run(stand: Stand, harness: Path, workdir: Path) -> RolloutReport:
    """One rollout of a submission, scored; its outputs stay in `workdir`."""
    return run_rollout(
        RolloutRequest(
            task=stand.task,
            harness=harness,
            inputs=stand.inputs(DEFAULT_SPLIT),
            runtime=stand.runtime,
            workdir=workdir,
            evaluation=stand.evaluation,
            upstream=stand.upstream,
            gateway_limits=stand.gateway_limits,
        )
    )


def _seed(stand: Stand) -> tuple[list[Check], float | None]:
    """The seed harness, and the evaluator a second time on its outputs."""
    clock = Clock()
    with scratch("preflight") as folder:
        report = run(stand, stand.task.seed, folder)
        first = clock.on(preflight.judge_seed(_ended(report)))
        again = _score_again(stand, folder / "outputs")
        second = preflight.judge_repeat(report.score, again, stand.task.metric)
    return [first, replace(second, seconds=clock.seconds - first.seconds)], None


def _score_again(stand: Stand, outputs: Path) -> Score | None:
    try:
        return score_outputs(get_backend(), stand.evaluation, outputs)
    except (EvaluatorError, HarnessError):
        return None


def _empty(stand: Stand) -> tuple[list[Check], float | None]:
    clock = Clock()
    with scratch("preflight") as folder:
        harness = folder / "harness"
        harness.mkdir()
        (harness / "main.py").write_text('print("nothing was written")\n', encoding="utf-8")
        return [clock.on(preflight.judge_empty(_ended(run(stand, harness, folder))))], None


def examine(stand: Stand, verdict: Verdict) -> tuple[list[Check], float | None]:
    """One submission against its verdict: the check and its score (None: none)."""
    clock = Clock()
    with scratch("preflight") as folder:
        harness = stand.task.tests / verdict.kind / verdict.name
        if verdict.settings:
            harness = _tuned_seed(stand.task.seed, verdict, folder / "harness")
        if verdict.outcome == SCREENED:
            ended = _screened(stand.task.seed, harness)
        else:
            ended = _ended(run(stand, harness, folder))
        return [clock.on(preflight.judge(verdict, ended, stand.task))], ended.score


def _tuned_seed(seed: Path, verdict: Verdict, target: Path) -> Path:
    shutil.copytree(seed, target)
    path = target / SETTINGS
    path.write_text(write_values(path.read_text(encoding="utf-8"), verdict.settings), encoding="utf-8")
    return target


def _screened(seed: Path, harness: Path) -> Ended:
    """What the screen says of this tree as an edit of the seed."""
    try:
        screen(read_tree(seed), read_tree(harness))
    except HarnessError as error:
        return Ended(SCREENED, None, str(error))
    return Ended("passed the screen", None)


def _ended(report: RolloutReport) -> Ended:
    return Ended(report.outcome, report.score.value if report.score else None, report.reason)


class Clock:
    """Wall time since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._began

    def on(self, check: Check) -> Check:
        """The check with the seconds that it took."""
        return replace(check, seconds=self.seconds)
