"""Bait for one attack: a small task, secrets, listeners and a file to spoil. Standard library only.

The judge lays it out on the host, and the control lays the same out inside its jail.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import py_compile
import runpy
import secrets
import shutil
import socket
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
WALL_S, MEMORY_MIB, PROCESSES = 2.5, 400, 64
PATIENT_S = (
    20.0  # for what another limit is to stop, or its own end: a busy machine must not make a timeout of it
)
HONEST_SCORE = 2 / 3
PLANT = "plant.py"  # beside an attack: changes its own tree before it is run
TASK_TOML = """
id = "arena"
version = "1"
title = "Arena"
licence = "MIT"
provenance = "made for the attack tests"
label_secrecy = "secret"
redistributable = "yes"
metric = {{ name = "accuracy", direction = "maximize", range = [0.0, 1.0] }}
inputs = {{ file = "inputs.jsonl" }}
splits = {{ public-val = 3 }}
[outputs]
file = "predictions.jsonl"
fields = {{ answer = {{ type = "string", max_length = 40 }} }}
[limits]
wall_s = {wall_s}
cpu_s = {cpu_s}
memory_mib = {memory_mib}
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
class Bait:
    """What an attack might want, below `folder`. `token` is the answer to the third item, and lies in every secret.

    The task's program has `wall_s` seconds, and some more of processor time.
    """

    folder: Path
    wall_s: float = WALL_S
    token: str = field(default_factory=lambda: secrets.token_hex(16))

    def __post_init__(self) -> None:
        self.task_dir, self.bait, self.open = (self.folder / name for name in ("task", "bait", "open"))
        for folder in (self.task_dir, self.bait, self.open):
            folder.mkdir()
        self._lay_out_task()
        self.inputs = self.task_dir / "public" / "public-val"
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

    @property
    def key(self) -> dict[str, str]:
        """An environment variable that holds the token, named after this bait alone."""
        return {f"PROVIDER_KEY_{self.abstract_name[-6:].upper()}": self.token}

    def close(self) -> None:
        """Closes the listeners."""
        for listener in self.listeners:
            listener.close()

    def arm(self, source: Path, target: Path, judge: int) -> None:
        """Copies one attack to `target`, with the paths and ports of everything that it might want.

        `judge` is the pid that it will try to kill.
        """
        shutil.copytree(source, target, dirs_exist_ok=True)
        shutil.copyfile(HERE / "honest.py", target / "honest.py")
        targets = {
            "prefix": self.token[:8],
            "secrets": [str(path) for path in self.secrets],
            "evaluator": str(self.task_dir / "evaluator" / "evaluate.py"),
            "writable": [str(self.victim), str(self.open / "new")],
            "port": self.tcp.getsockname()[1],
            "unix_path": str(self.open / "s"),
            "unix_abstract": self.abstract_name,
            "judge": judge,
        }
        (target / "targets.json").write_text(json.dumps(targets))
        if source.name == "planted_bytecode":
            _plant_bytecode(target)
        if (target / PLANT).exists():
            runpy.run_path(str(source / PLANT))["plant"](target, targets)
            (target / PLANT).unlink()

    def watched(self) -> list[Path]:
        """The folders that must be the same after an attack as before."""
        return [self.task_dir, self.bait, self.open]

    def touched(self) -> list[str]:
        """The listeners that something connected to."""
        found = []
        for name, listener in zip(("TCP", "unix path", "unix abstract"), self.listeners, strict=True):
            try:
                listener.accept()[0].close()
                found.append(name)
            except BlockingIOError:
                continue
        return found

    def leaked(self, text: str, outputs: Path) -> bool:
        """Whether the token can be read in `text` or in a regular file of the folder `outputs`."""
        token = self.token.encode()
        files = [path for path in outputs.iterdir() if path.is_file()] if outputs.is_dir() else []
        return self.token in text or any(token in path.read_bytes() for path in files)

    def _lay_out_task(self) -> None:
        files = {
            "task.toml": TASK_TOML.format(
                wall_s=self.wall_s, cpu_s=math.ceil(1.5 * self.wall_s), memory_mib=MEMORY_MIB
            ),
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


def snapshot(folders: Iterable[Path]) -> dict[str, str]:
    """{path: kind, mode and digest} of everything below the folders. Sockets are left out: their owner removes them."""
    found = {}
    for folder in folders:
        for root, names, files in os.walk(folder):
            for path in (Path(root, name) for name in (".", *names, *files)):
                status = path.lstat()
                if not stat.S_ISSOCK(status.st_mode):
                    found[str(path)] = f"{status.st_mode:o} {status.st_nlink} {_digest(path, status.st_mode)}"
    return found


def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The paths that differ."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def _digest(path: Path, mode: int) -> str:
    if stat.S_ISLNK(mode):
        return os.readlink(path)
    return hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(mode) else ""


def _plant_bytecode(harness: Path) -> None:
    """Compiled code in __pycache__ that Python would prefer to the source beside it."""
    evil = harness / "evil.py"
    evil.write_text("")
    target = harness / "__pycache__" / f"innocent.{sys.implementation.cache_tag}.pyc"
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(evil), str(target), invalidation_mode=mode)
    evil.unlink()
