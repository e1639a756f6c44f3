"""The training process: `python -m loop.training.trainer SPEC.json`. Reads a job, writes an adapter and its manifest.

It sees prompts, completions and rewards; labels stay with the evaluator behind the reward socket. Run again with the
same specification after any kind of death, it ends with the same adapter. Exit status: 0 done, 3 failed with one
sentence on stderr, 143 cancelled.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import IO, Any

from governance.digests import file_digest
from loop.errors import TrainingError
from loop.training.hyper import Hyper
from loop.training.manifest import build_manifest, read_finished, write_json
from loop.training.reward_wire import RewardClient
from loop.training.spec import TrainingSpec, spec_from_json

TINY_BYTES = 200 * 2**20
FAILED, CANCELLED = 3, 143
LOCK_S = 30


class Cancelled(Exception):
    """SIGTERM came; nothing is kept."""


def prepare_environment(base: Path, scratch: Path) -> None:
    """Settings that libraries read when they are imported: offline, quiet, and one thread for a tiny base."""
    size = sum(path.stat().st_size for path in base.glob("*.safetensors"))
    if size < TINY_BYTES:
        os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    os.environ.update(
        HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false",
        TRANSFORMERS_VERBOSITY="error", HF_HOME=str(scratch / "hf"), DISABLE_TELEMETRY="1",
        HF_HUB_DISABLE_PROGRESS_BARS="1",
    )  # fmt: skip


@dataclass(frozen=True)
class Attempt:
    """One stretch of training from given weights: a pure function of these values and the specification."""

    index: int
    start: Path | None
    hyper: Hyper
    first_step: int
    seed: int
    folder: Path


@dataclass(frozen=True)
class Ended:
    """How an attempt ended: why it stopped early ("" when it did not), and the weights to keep."""

    stopped: str
    reason: str
    steps: int
    best_step: int
    weights: dict[str, Any]
    config: dict[str, Any]


def load_rows(spec: TrainingSpec) -> list[dict[str, Any]]:
    """The prompts of the job. Raises TrainingError when the file is not the one the specification names."""
    path = Path(spec.dataset_path)
    if file_digest(path) != spec.dataset_digest:
        raise TrainingError(f"The data set {path} is not the one with the digest {spec.dataset_digest[:12]}.")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    hyper = spec.resolved()
    if len(rows) < hyper.prompts_per_step:
        raise TrainingError(f"The data set has {len(rows)} prompts, one step needs {hyper.prompts_per_step}.")
    return rows


def load_model(spec: TrainingSpec, attempt: Attempt) -> tuple[Any, Any]:
    """(PEFT model ready to train, tokenizer): a new adapter, or the attempt's start or the parent continued."""
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

    if os.environ.get("OMP_NUM_THREADS") == "1":
        torch.set_num_threads(1)
    set_seed(attempt.seed)
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    tokenizer = AutoTokenizer.from_pretrained(spec.base_dir, local_files_only=True, padding_side="left")
    base = AutoModelForCausalLM.from_pretrained(spec.base_dir, local_files_only=True, dtype=dtype)
    start = attempt.start or (Path(spec.parent_adapter_dir) if spec.parent_adapter_dir else None)
    if start is not None:
        return PeftModel.from_pretrained(base, str(start), is_trainable=True), tokenizer
    head = base.get_output_embeddings()
    linear = {
        name.rsplit(".", 1)[-1]
        for name, module in base.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    config = LoraConfig(
        r=attempt.hyper.lora_r, lora_alpha=attempt.hyper.lora_alpha, lora_dropout=0.0, bias="none",
        target_modules=sorted(linear), task_type="CAUSAL_LM",
    )  # fmt: skip
    return get_peft_model(base, config), tokenizer


def run_attempt(spec: TrainingSpec, attempt: Attempt, clock: Any) -> Ended:
    """Train from the attempt's start, or from its last complete checkpoint, to its end or to the first stop."""
    from datasets import Dataset, disable_progress_bars
    from transformers import PrinterCallback

    from loop.training import trainer_losses, trainer_watch

    disable_progress_bars()
    out = Path(spec.out_dir)
    total = attempt.first_step + attempt.hyper.steps
    position = trainer_watch.Position(attempt.index, attempt.first_step, total, spec.identity())
    watch = trainer_watch.Watch(position, clock, out / "metrics.jsonl")
    model, tokenizer = load_model(spec, attempt)
    watch.begin(model)
    client = RewardClient(spec.reward_socket)

    def reward(completions: list[Any], item_id: list[str], **_: Any) -> list[float | None]:
        texts = [text if isinstance(text, str) else text[-1]["content"] for text in completions]
        values = client.rewards(list(zip(item_id, texts, strict=True)))
        if all(value is None for value in values):
            raise TrainingError(
                f"The evaluator knew no reward for any of {len(values)} completions of a step."
            )
        return values

    trainer = trainer_losses.TRAINERS[spec.algorithm](
        model=model,
        reward_funcs=reward,
        args=trainer_losses.arguments(spec.algorithm, attempt.hyper, attempt.seed, str(attempt.folder)),
        train_dataset=Dataset.from_list(load_rows(spec)),
        processing_class=tokenizer,
        callbacks=[watch],
    )
    trainer.hyper = attempt.hyper
    trainer.remove_callback(PrinterCallback)
    resume = trainer_watch.last_checkpoint(attempt.folder, position.identity)
    if resume is not None:
        watch.resume(resume)
    else:
        trainer_watch.keep_metrics(watch.metrics, lambda row: bool(row["attempt"] < attempt.index))
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    healthy = watch.stopped != "collapsed"
    return Ended(
        stopped=watch.stopped, reason=watch.guard.reason, steps=watch.guard.steps, best_step=watch.guard.best_step,
        weights=trainer_watch.snapshot(model) if healthy else watch.best,
        config=model.peft_config["default"].to_dict(),
    )  # fmt: skip


def save_adapter(folder: Path, ended: Ended, base_digest: str) -> None:
    """Write the two adapter files, byte for byte determined by the weights: no paths, no pickles, sorted keys."""
    from safetensors.torch import save_file

    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    config = {
        name: sorted(value) if isinstance(value, set) else value for name, value in ended.config.items()
    }
    config.update(base_model_name_or_path=base_digest, inference_mode=True)
    write_json(temporary / "adapter_config.json", config)
    save_file(ended.weights, str(temporary / "adapter_model.safetensors"), metadata={"format": "pt"})
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def train(spec: TrainingSpec, clock: Any) -> None:
    """Run the job: one attempt, and after a collapse one more from the best weights at a third of the rate.

    Raises TrainingError on a second collapse, Cancelled after SIGTERM.
    """
    out = Path(spec.out_dir)
    hyper = spec.resolved()
    retry = out / "work" / "retry.json"
    collapsed = json.loads(retry.read_text()) if retry.is_file() else None
    if collapsed is None or collapsed["identity"] != spec.identity():
        first = Attempt(0, None, hyper, 0, spec.seed, out / "work" / "attempt-0")
        ended = run_attempt(spec, first, clock)
        if ended.stopped != "collapsed":
            return finish(spec, ended, clock, "")
        save_adapter(out / "work" / "restored", ended, spec.base_digest)
        collapsed = {"identity": spec.identity(), "best_step": ended.best_step, "reason": ended.reason}
        write_json(retry, collapsed)
    best = int(collapsed["best_step"])
    gentler = replace(hyper, lr=hyper.lr / 3, steps=max(1, hyper.steps - best))
    folder = out / "work" / "attempt-1"
    ended = run_attempt(
        spec, Attempt(1, out / "work" / "restored", gentler, best, spec.seed + 1, folder), clock
    )
    if ended.stopped == "collapsed":
        raise TrainingError(
            f"Training collapsed twice ({collapsed['reason']}; then {ended.reason}); use a lower learning rate."
        )
    finish(spec, ended, clock, str(collapsed["reason"]))


def finish(spec: TrainingSpec, ended: Ended, clock: Any, collapse: str) -> None:
    """Write adapter and manifest. A job that its budget cut short keeps what it learned, and its manifest says so."""
    if ended.stopped == "cancelled":
        raise Cancelled
    out = Path(spec.out_dir)
    save_adapter(out / "adapter", ended, spec.base_digest)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    rewards = [row["reward"] for row in rows if row["reward"] is not None]
    summary = {
        "steps": rows[-1]["step"], "stopped_by": ended.stopped or "steps", "collapse": collapse,
        "reward_first": _mean(rewards[:10]), "reward_last": _mean(rewards[-10:]),
        "entropy_last": rows[-1]["entropy"], "seconds": round(clock.seconds(), 2),
    }  # fmt: skip
    write_json(out / "manifest.json", build_manifest(spec, out / "adapter", summary))
    shutil.rmtree(out / "work", ignore_errors=True)


def _mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 6) if values else None


def main(argv: list[str]) -> int:
    """Entry of the process."""
    spec = spec_from_json(Path(argv[1]).read_text())
    out = Path(spec.out_dir)
    (out / "work").mkdir(parents=True, exist_ok=True)
    with (out / "lock").open("w") as lock:
        take_lock(lock, out)
        return run_locked(spec, out)


def take_lock(lock: IO[str], out: Path) -> None:
    """Be alone in the folder: an orphan of a killed parent ends by itself at its next reward request."""
    for _ in range(LOCK_S * 10):
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.1)
    raise TrainingError(f"Another process is training in {out}; end it first.")


def run_locked(spec: TrainingSpec, out: Path) -> int:
    """The job itself, in a folder that is ours. Returns the exit status."""
    if read_finished(spec) is not None:
        return 0
    started = time.monotonic()
    prepare_environment(Path(spec.base_dir), out / "work")
    from loop.training import trainer_watch

    clock = trainer_watch.Clock(spec.budget_s, started=started)

    def cancel(_signal: int, _frame: FrameType | None) -> None:
        clock.cancelled = True

    signal.signal(signal.SIGTERM, cancel)
    try:
        train(spec, clock)
    except Cancelled:
        print("Training was cancelled; what it had learned is dropped.", file=sys.stderr)
        return CANCELLED
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv))
    except TrainingError as failure:
        print(f"TrainingError: {failure}", file=sys.stderr)
        sys.exit(FAILED)
