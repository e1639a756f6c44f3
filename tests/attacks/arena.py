"""The arena of the attack tests: bait on the host, and rollouts of attacks beside it."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from loop.catalog import TaskSpec, load_task, read_ids
from loop.errors import HarnessError
from loop.repos import CommitNote, HarnessRepo, read_tree
from loop.rollout import RolloutReport, RolloutRequest, run_rollout
from loop.runtimes import Runtime, ensure_runtime
from loop.scoring import Evaluation
from tests.attacks.bait import Bait


class Arena(Bait):
    """Bait, an armed harness, an empty runtime and a folder to work in."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.task: TaskSpec = load_task(self.task_dir)
        self.runtime: Runtime = ensure_runtime(None, self.folder / "runtimes")
        self.harness_dir, self.workdir = self.folder / "harness", self.folder / "work"
        self.workdir.mkdir()

    @property
    def outputs(self) -> Path:
        """Where the collected outputs of the last run lie."""
        return self.workdir / "outputs"

    def harness(self, source: Path) -> Path:
        """A copy of the attack in the folder `source`, armed."""
        shutil.rmtree(self.harness_dir, ignore_errors=True)
        self.arm(source, self.harness_dir, os.getpid())
        return self.harness_dir

    def watched(self) -> list[Path]:
        """Bait, task, runtime and the harness itself."""
        return [
            *super().watched(),
            self.runtime.path,
            *([self.harness_dir] if self.harness_dir.is_dir() else []),
        ]

    def versioned(self) -> list[str]:
        """What goes wrong when the armed tree is kept as a version and taken out again; nothing where it is refused."""
        place = self.folder / "repository"
        shutil.rmtree(place, ignore_errors=True)
        try:
            tree = read_tree(self.harness_dir)
        except HarnessError as error:
            return [] if str(error).isprintable() else ["The refusal of its tree holds control characters."]
        repository = HarnessRepo(place)
        note = CommitNote("attack", "judge", datetime(2026, 1, 1, tzinfo=UTC))
        found = repository.read(repository.commit(tree, None, note, "main"))
        problems = [f"The repository kept {path}." for path in found if ".git" in path.split("/")]
        return problems if found == tree else [*problems, "What came out of the repository is another tree."]

    def evaluation(self) -> Evaluation:
        """How the outputs of this task are scored."""
        ids = read_ids(self.inputs, "inputs.jsonl")
        return Evaluation(self.task.evaluator, self.task.labels("public-val"), ids, self.task, self.runtime)

    def run(self, harness: Path, seed: int) -> RolloutReport:
        """One rollout of an armed attack, scored."""
        return run_rollout(
            RolloutRequest(
                self.task, harness, self.inputs, self.runtime, self.workdir, seed, self.evaluation()
            )
        )
