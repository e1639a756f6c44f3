"""`kill -9` of the training worker and of the trainer in the middle of a campaign's weight update changes nothing."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.loop.killing import Env, follow, kill, processes, service, serving
from tests.loop.letters_task import ANSWER_TOKENS, STEPS, TRAINING

pytestmark = pytest.mark.train
TRAINER = ("loop.training.trainer",)


def trainers(home: Path) -> list[int]:
    """The trainers at work, not the worker that waits for them."""
    return [pid for pid in processes(home, TRAINER) if pid not in processes(home, ("manage.py",))]


def checkpoints(home: Path) -> int:
    """How many steps the newest complete checkpoint holds; 0 when there is none."""
    found = home.glob("training/*/out/work/attempt-0/checkpoint-*/pawl.json")
    return max((int(marker.parent.name.rpartition("-")[2]) for marker in found), default=0)


def steps(home: Path) -> int:
    """How many steps the trainer has told."""
    return sum(path.read_text().count("\n") for path in home.glob("training/*/out/metrics.jsonl"))


def wait_until_dead(pids: list[int]) -> None:
    """A trainer must not outlive its worker."""
    deadline = time.monotonic() + 10
    while left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, f"the trainer {left} outlived its worker"


class Striker:
    """Kills the training worker after the first checkpoint, and the next trainer when it has gone on from there."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.killed: dict[str, int] = {}

    def __call__(self, step: str) -> None:
        """Look, and strike when it is time."""
        if step != "train":
            return
        if "worker" not in self.killed and checkpoints(self.home) > 0:
            working = trainers(self.home)
            kill(processes(self.home, ("manage.py", "worker", "train")))
            wait_until_dead(working)
            self.killed["worker"] = steps(self.home)
        elif "trainer" not in self.killed and steps(self.home) > self.killed.get("worker", STEPS):
            kill(trainers(self.home))
            self.killed["trainer"] = steps(self.home)


def test_a_training_worker_and_a_trainer_killed_in_a_campaign_end_with_the_same_adapter(
    service_env: Env, tmp_path: Path
) -> None:
    calm = {**service_env, "PAWL_HOME": str(tmp_path / "calm")}
    home = Path(service_env["PAWL_HOME"])
    calm_ref, ref = (service(env, "letters", str(tmp_path / "task")) for env in (calm, service_env))
    striker = Striker(home)
    with serving(service_env):
        follow(home, striker)
    assert set(striker.killed) == {"worker", "trainer"}
    assert 0 < striker.killed["worker"] < striker.killed["trainer"] < STEPS
    undisturbed = json.loads(service(calm, "run", calm_ref))
    assert (undisturbed["status"], undisturbed["proposals"]) == ("finished", ["ready"])
    assert len(undisturbed["archive"]) == 2
    assert json.loads(service(service_env, "archive", ref)) == undisturbed
    job = undisturbed["jobs"][0]
    assert job["steps"] == list(range(1, STEPS + 1))
    assert job["hyper"] == job["decided"]
    assert job["hyper"].items() >= {**TRAINING, "max_completion": ANSWER_TOKENS}.items()
