"""What watches a run from inside the trainer process: live metrics, the collapse guard, budget, cancel, checkpoints."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from loop.training.guard import CollapseGuard, Verdict
from loop.training.manifest import write_json

MARKER = "pawl.json"
BEST = "pawl_best.safetensors"


@dataclass
class Clock:
    """Wall time of the job, over all attempts of this process; `cancelled` is set by SIGTERM."""

    budget_s: float
    cancelled: bool = False
    started: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        """Wall seconds since the job began."""
        return time.monotonic() - self.started

    def stop_reason(self) -> str:
        """Why the run has to end now: "cancelled", "budget" or ""."""
        if self.cancelled:
            return "cancelled"
        return "budget" if self.seconds() > self.budget_s else ""


@dataclass(frozen=True)
class Position:
    """Where an attempt lies in the whole job: its index, the steps before it and the steps of the job."""

    attempt: int
    first_step: int
    total: int
    identity: str


class Watch(TrainerCallback):
    """One per attempt. After the run, `stopped` says why it ended early and `best` holds the weights to go back to."""

    def __init__(self, position: Position, clock: Clock, metrics: Path) -> None:
        self.position = position
        self.clock = clock
        self.metrics = metrics
        self.guard = CollapseGuard()
        self.stopped = ""
        self.best: dict[str, torch.Tensor] = {}
        self.model: Any = None

    def begin(self, model: Any) -> None:
        """Take hold of the PEFT model; its weights at the start are the first to go back to."""
        self.model = model
        self.best = snapshot(model)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **extra: Any
    ) -> TrainerControl:
        """Write one line of metrics and judge the step."""
        logs: dict[str, Any] = extra.get("logs") or {}
        if "train_runtime" in logs:
            return control
        reward, entropy, loss = (_number(logs.get(name)) for name in ("reward", "entropy", "loss"))
        verdict = self.guard.observe(reward, entropy, loss)
        row = {
            "step": self.position.first_step + state.global_step, "total": self.position.total,
            "attempt": self.position.attempt, "reward": reward, "entropy": entropy, "loss": loss,
            "kl": _number(logs.get("kl")), "lr": _number(logs.get("learning_rate")),
            "zero_variance": _number(logs.get("frac_reward_zero_std")),
            "seconds": round(self.clock.seconds(), 3),
        }  # fmt: skip
        with self.metrics.open("a") as handle:
            handle.write(json.dumps({name: _finite(value) for name, value in row.items()}) + "\n")
        if verdict is Verdict.BEST:
            self.best = snapshot(self.model)
        self.stopped = "collapsed" if verdict is Verdict.COLLAPSED else self.clock.stop_reason()
        control.should_training_stop = control.should_training_stop or bool(self.stopped)
        return control

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Complete a checkpoint: the guard's state and the best weights; the marker is written last."""
        folder = checkpoint_folder(Path(str(args.output_dir)), state.global_step)
        save_file(self.best, str(folder / BEST))
        write_json(folder / MARKER, {"identity": self.position.identity, "guard": self.guard.state()})

    def resume(self, folder: Path) -> None:
        """Go on from a complete checkpoint: guard, best weights, and metrics without what came after it."""
        self.guard.restore(json.loads((folder / MARKER).read_text())["guard"])
        self.best = load_file(str(folder / BEST))
        step = self.position.first_step + int(folder.name.rsplit("-", 1)[1])
        keep_metrics(self.metrics, lambda row: row["attempt"] < self.position.attempt or row["step"] <= step)


def checkpoint_folder(output: Path, step: int) -> Path:
    """Where the trainer puts the checkpoint of a step."""
    return output / f"checkpoint-{step}"


def last_checkpoint(output: Path, identity: str) -> Path | None:
    """The newest complete checkpoint of this very job, or None."""
    found = []
    for marker in output.glob(f"checkpoint-*/{MARKER}"):
        if json.loads(marker.read_text())["identity"] == identity:
            found.append((int(marker.parent.name.rsplit("-", 1)[1]), marker.parent))
    return max(found)[1] if found else None


def keep_metrics(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Drop the lines that `keep` refuses, and a last line that a kill cut off."""
    if not path.is_file():
        return
    rows = []
    for line in path.read_text().splitlines(keepends=True):
        if line.endswith("\n") and keep(json.loads(line)):
            rows.append(line)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("".join(rows))
    temporary.replace(path)


def snapshot(model: Any) -> dict[str, torch.Tensor]:
    """A copy of the adapter's weights on the CPU, under the names that adapter files use."""
    state = get_peft_model_state_dict(model, adapter_name="default", save_embedding_layers=False)
    return {
        name: value.detach().to("cpu", torch.float32).contiguous().clone() for name, value in state.items()
    }


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and value - value != 0 else value
