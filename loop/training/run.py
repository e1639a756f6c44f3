"""The parent's side of a training job: starts the trainer process, follows its metrics, ends it, reads its result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploy import child
from loop.errors import TrainingError
from loop.training.features import training_available
from loop.training.manifest import read_finished
from loop.training.rewards import RewardServer
from loop.training.spec import TrainingSpec

REPO = Path(__file__).resolve().parents[2]
PASSED_ON = ("PATH", "LANG", "TMPDIR", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")
POLL_S = 0.2
GRACE_S = 15.0
OVERTIME_S = 60.0
MOST_KILLS = 4


@dataclass(frozen=True, slots=True)
class Progress:
    """One logged step. `reward` is the mean of the step's known rewards; `eta_s` wall seconds to the end."""

    step: int
    total: int
    reward: float | None
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A finished job: the adapter folder, its manifest, and every logged step."""

    adapter_dir: Path
    manifest: Mapping[str, Any]
    metrics: tuple[Mapping[str, Any], ...]


def run_training(
    spec: TrainingSpec,
    rewards: RewardServer,
    on_progress: Callable[[Progress], None],
    cancelled: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Run the job in a process of its own and return the adapter. Blocks; safe to call again after any death.

    A finished job in the same folder is returned at once. Raises TrainingError when training is not installed, fails,
    collapses twice, overruns its budget without a result, or is cancelled.
    """
    available, remedy = training_available()
    if not available:
        raise TrainingError(remedy)
    out = Path(spec.out_dir)
    out.mkdir(parents=True, exist_ok=True)
    if read_finished(spec) is None:
        _run_processes(replace(spec, reward_socket=rewards.trainer_socket), on_progress, cancelled)
    manifest = read_finished(spec)
    if manifest is None:
        raise TrainingError(f"The trainer ended without a result: {last_words(out / 'trainer.log')}")
    return TrainingResult(out / "adapter", manifest, tuple(read_metrics(out / "metrics.jsonl")))


def _run_processes(
    spec: TrainingSpec, on_progress: Callable[[Progress], None], cancelled: Callable[[], bool]
) -> None:
    """Run the trainer; one that is killed from outside is started again and goes on from its last checkpoint."""
    for _ in range(MOST_KILLS):
        status = _run_process(spec, on_progress, cancelled)
        if status == 0:
            return
        if status != -signal.SIGKILL:
            raise TrainingError(f"Training failed: {last_words(Path(spec.out_dir) / 'trainer.log')}")
    raise TrainingError(
        f"The trainer was killed {MOST_KILLS} times; give it more memory, or set a smaller micro_batch in the "
        "task's [training]."
    )


def _run_process(
    spec: TrainingSpec, on_progress: Callable[[Progress], None], cancelled: Callable[[], bool]
) -> int:
    """One trainer process, which dies with this one; returns its exit status."""
    out = Path(spec.out_dir)
    (out / "spec.json").write_text(spec.to_json())
    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {"HOME": str(out)}
    with (out / "trainer.log").open("w") as log:
        process = subprocess.Popen(
            child.command([sys.executable, "-m", "loop.training.trainer", str(out / "spec.json")]),
            cwd=REPO, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        _follow(process, spec, on_progress, cancelled)
    finally:
        if process.poll() is None:
            end_process(process)
    return process.returncode


def _follow(
    process: subprocess.Popen[bytes],
    spec: TrainingSpec,
    on_progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> None:
    deadline = time.monotonic() + spec.budget_s + OVERTIME_S
    told = None
    while process.poll() is None:
        rows = read_metrics(Path(spec.out_dir) / "metrics.jsonl")
        if rows and rows[-1] != told:
            told = rows[-1]
            on_progress(progress_of(rows))
        if cancelled():
            raise TrainingError("Training was cancelled; what it had learned is dropped.")
        if time.monotonic() > deadline:
            raise TrainingError(
                f"Training did not end within its budget of {spec.budget_s:.0f} s and was stopped."
            )
        try:
            process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            continue


def end_process(process: subprocess.Popen[bytes]) -> None:
    """End the whole process group: SIGTERM, and SIGKILL after a grace time."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Every complete line logged so far."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def progress_of(rows: list[dict[str, Any]]) -> Progress:
    """Where a run stands; the time to go is judged by the last twenty steps of this attempt."""
    last = rows[-1]
    recent = [
        row for row in rows[-20:] if row["attempt"] == last["attempt"] and row["seconds"] <= last["seconds"]
    ]
    steps = last["step"] - recent[0]["step"]
    eta = None
    if steps > 0:
        eta = (last["seconds"] - recent[0]["seconds"]) / steps * (last["total"] - last["step"])
    return Progress(int(last["step"]), int(last["total"]), last["reward"], eta)


def last_words(log: Path) -> str:
    """The line of a trainer's log that says most: its own error sentence, else its last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()] if log.is_file() else []
    sentences = [line.removeprefix("TrainingError: ") for line in lines if line.startswith("TrainingError: ")]
    last = (sentences or [line for line in lines if line] or ["it left no log."])[-1]
    return last[:2000]
