"""The arena of the attack tests: a small task, secrets and listeners laid out as bait, and the judge."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
from dataclasses import dataclass, field
from pathlib import Path

from governance.digests import tree_digest
from loop.catalog import load_task, read_ids
from loop.rollout import RolloutReport, RolloutRequest, run_rollout
from loop.runtimes import ensure_runtime
from loop.scoring import Evaluation

HERE = Path(__file__).parent
TASK_TOML = """
id = "arena"
version = "1"
title = "Arena"
licence = "MIT"
provenance = "made for the attack tests"
label_secrecy = "secret"
redistributable = "yes"
metric = { name = "accuracy", direction = "maximize", range = [0.0, 1.0] }
inputs = { file = "inputs.jsonl" }
splits = { public-val = 3 }
[outputs]
file = "predictions.jsonl"
fields = { answer = { type = "string", max_length = 40 } }
[limits]
wall_s = 2.5
cpu_s = 4
memory_mib = 400
"""
EVALUATOR = """
import json
from pathlib import Path


def rows(path):
    return {row["id"]: row for row in map(json.loads, path.read_text().splitlines())}


def evaluate(outputs_dir, labels_dir):
    answers = rows(Path(outputs_dir, "predictions.jsonl"))
    labels = rows(Path(labels_dir, "labels.jsonl"))
    items = {key: float(answers[key]["answer"] == row["label"]) for key, row in labels.items()}
    return {"items": items, "metrics": {"accuracy": sum(items.values()) / len(items)}}
"""


@dataclass
class Arena:
    """Bait on the host. `token` is the answer to the third item, and lies in every secret."""

    folder: Path
    token: str = field(default_factory=lambda: secrets.token_hex(16))

    def __post_init__(self) -> None:
        self.task_dir, self.bait, self.open = (self.folder / name for name in ("task", "bait", "open"))
        for folder in (self.task_dir, self.bait, self.open):
            folder.mkdir()
        self._lay_out_task()
        self.secrets = [
            self.task_dir / "labels/public-val/labels.jsonl",
            self.task_dir / "hidden/labels/labels.jsonl",
            self.bait / "keys.env",
        ]
        self.secrets[-1].write_text(f"PROVIDER_KEY={self.token}\n")
        self.victim = self.open / "history.jsonl"
        self.victim.write_text("the record\n")
        for path in (self.open, self.victim):
            path.chmod(0o777)
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.unix_path, self.unix_abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        self.unix_path.bind(str(self.open / "s"))
        (self.open / "s").chmod(0o777)
        self.abstract_name = f"pawl-{self.token[:12]}"
        self.unix_abstract.bind(f"\0{self.abstract_name}")
        for listener in self.listeners:
            listener.listen()
            listener.setblocking(False)

    @property
    def listeners(self) -> list[socket.socket]:
        """Everything that an attack might connect to."""
        return [self.tcp, self.unix_path, self.unix_abstract]

    def close(self) -> None:
        """Closes the listeners."""
        for listener in self.listeners:
            listener.close()

    def harness(self, name: str) -> Path:
        """A copy of one attack, armed with the paths and ports of everything it might want."""
        target = self.folder / "harness"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(HERE / "harnesses" / name, target)
        shutil.copyfile(HERE / "honest.py", target / "honest.py")
        targets = {
            "prefix": self.token[:8],
            "secrets": [str(path) for path in self.secrets],
            "evaluator": str(self.task_dir / "evaluator" / "evaluate.py"),
            "writable": [str(self.victim), str(self.open / "new")],
            "port": self.tcp.getsockname()[1],
            "unix_path": str(self.open / "s"),
            "unix_abstract": self.abstract_name,
            "judge": os.getpid(),
        }
        (target / "targets.json").write_text(json.dumps(targets))
        return target

    def run(self, harness: Path, seed: int) -> RolloutReport:
        """One rollout of an armed attack, scored."""
        task = load_task(self.task_dir)
        workdir = self.folder / "work"
        workdir.mkdir(exist_ok=True)
        runtime = ensure_runtime(None, self.folder / "runtimes")
        inputs = task.inputs("public-val")
        evaluation = Evaluation(
            task.evaluator, task.labels("public-val"), read_ids(inputs, "inputs.jsonl"), task, runtime
        )
        return run_rollout(RolloutRequest(task, harness, inputs, runtime, workdir, seed, evaluation))

    def digests(self) -> list[str]:
        """What must be the same after an attack as before."""
        (self.open / "s").unlink(missing_ok=True)
        return [tree_digest(folder) for folder in (self.task_dir, self.bait, self.open)]

    def touched(self) -> list[int]:
        """The listeners that something connected to."""
        found = []
        for index, listener in enumerate(self.listeners):
            try:
                listener.accept()[0].close()
                found.append(index)
            except BlockingIOError:
                continue
        return found

    def leaked(self, text: str) -> bool:
        """Whether the token can be read in `text` or in a collected output."""
        outputs = self.folder / "work" / "outputs"
        collected = b"".join(path.read_bytes() for path in outputs.iterdir()) if outputs.is_dir() else b""
        return self.token in text or self.token.encode() in collected

    def _lay_out_task(self) -> None:
        files = {
            "task.toml": TASK_TOML,
            "evaluator/evaluate.py": EVALUATOR,
            "public/public-val/inputs.jsonl": "".join(
                f'{{"id": "{key}", "x": {x}}}\n' for x, key in enumerate("abc", 1)
            ),
            "labels/public-val/labels.jsonl": self._labels(),
            "hidden/labels/labels.jsonl": self._labels(),
        }
        for name, text in files.items():
            path = self.task_dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def _labels(self) -> str:
        labels = {"a": "1", "b": "2", "c": self.token}
        return "".join(f'{{"id": "{key}", "label": "{label}"}}\n' for key, label in labels.items())


def survivors(seed: int) -> list[int]:
    """The pids of all processes on this machine that carry the run's seed in their environment."""
    marker, found = f"HARNESS_SEED={seed}".encode(), []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and marker in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found
