"""A real, really tiny training job: process, reward sandbox, adapter, manifest; cancels and collapses.

That a killed trainer ends with the same adapter is shown in a whole campaign (tests/loop/test_kill_training.py).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loop.errors import TrainingError
from loop.sandbox import get_backend
from loop.training.manifest import adapter_digest
from loop.training.rewards import RewardServer
from loop.training.run import Progress, run_training
from tests.loop.training.parts import evaluator_source, training_spec

pytestmark = pytest.mark.train
HYPER: dict[str, Any] = {
    "steps": 14, "prompts_per_step": 4, "generations": 4, "max_completion": 3, "lora_r": 2, "lora_alpha": 4, "lr": 1e-2,
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    script = Path(__file__).with_name("base_model.py")
    subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def rewards(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with RewardServer(get_backend(), evaluator_source(tmp_path_factory.mktemp("evaluator"))) as server:
        yield server


@pytest.fixture(scope="module")
def plain(base: Path, rewards: RewardServer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(spec, result, progress) of one undisturbed run."""
    spec = training_spec(tmp_path_factory.mktemp("plain"), base, HYPER)
    seen: list[Progress] = []
    return spec, run_training(spec, rewards, seen.append), seen


def test_a_job_ends_with_an_adapter_its_manifest_and_its_metrics(plain: Any) -> None:
    _, result, seen = plain
    assert sorted(path.name for path in result.adapter_dir.iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip
    assert result.manifest["adapter_digest"] == adapter_digest(result.adapter_dir)
    assert result.manifest["metrics"]["stopped_by"] == "steps"
    assert [row["step"] for row in result.metrics] == list(range(1, 15))
    assert all(0 <= row["reward"] <= 1 and row["entropy"] > 0 for row in result.metrics)
    assert seen[-1].total == 14 and seen[-1].step > 1


def test_an_adapter_names_its_base_by_digest_and_holds_no_path(plain: Any) -> None:
    spec, result, _ = plain
    config = (result.adapter_dir / "adapter_config.json").read_text()
    assert json.loads(config)["base_model_name_or_path"] == spec.base_digest
    weights = (result.adapter_dir / "adapter_model.safetensors").read_bytes()
    for place in (spec.base_dir, spec.out_dir):
        assert place not in config and place.encode() not in weights


def test_a_finished_job_is_not_run_again(plain: Any, rewards: RewardServer) -> None:
    spec, result, _ = plain

    def no_progress(_: Progress) -> None:
        raise AssertionError("a finished job was run again")

    assert run_training(spec, rewards, no_progress).manifest == result.manifest


def test_a_trainer_that_is_killed_each_time_fails_the_job_with_a_remedy(
    base: Path, rewards: RewardServer, tmp_path: Path
) -> None:
    ended = threading.Event()

    def kill_each() -> None:
        while not ended.wait(0.01):
            for children in Path("/proc/self/task").glob("*/children"):
                for child in children.read_text().split():
                    with suppress(OSError):
                        if b"loop.training.trainer" in Path(f"/proc/{child}/cmdline").read_bytes():
                            os.kill(int(child), signal.SIGKILL)

    killer = threading.Thread(target=kill_each)
    killer.start()
    try:
        with pytest.raises(TrainingError, match="killed 4 times; give it more memory"):
            run_training(training_spec(tmp_path, base, HYPER), rewards, lambda _: None)
    finally:
        ended.set()
        killer.join()
    assert not (tmp_path / "manifest.json").exists()


def test_an_adapter_is_continued_by_another_algorithm_and_a_cancel_leaves_nothing(
    plain: Any, base: Path, rewards: RewardServer, tmp_path: Path
) -> None:
    parent: dict[str, Any] = {
        "parent_adapter_dir": str(plain[1].adapter_dir), "parent_digest": plain[1].manifest["adapter_digest"],
    }  # fmt: skip
    spec = training_spec(tmp_path, base, HYPER | {"steps": 5000}, algorithm="rloo", **parent)
    begun = threading.Event()
    with pytest.raises(TrainingError, match="cancelled"):
        run_training(spec, rewards, lambda _: begun.set(), begun.is_set)
    assert not (tmp_path / "adapter").exists() and not (tmp_path / "manifest.json").exists()


def test_every_other_algorithm_moves_the_weights(base: Path, rewards: RewardServer, tmp_path: Path) -> None:
    algorithms = ["rejection", "entropic", "ppo", "rloo", "gspo"]
    small = HYPER | {"steps": 4}
    for algorithm in algorithms:
        spec = training_spec(tmp_path / algorithm, base, small, algorithm=algorithm)
        spec = replace(spec, reward_socket=rewards.trainer_socket)
        (tmp_path / algorithm / "spec.json").write_text(spec.to_json())
    script = (
        "import sys\nfrom loop.training.trainer import main\nfor path in sys.argv[1:]:\n    main(['', path])"
    )
    paths = [str(tmp_path / algorithm / "spec.json") for algorithm in algorithms]
    done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in algorithms]
    assert [manifest["algorithm"] for manifest in manifests] == algorithms
    assert len({manifest["adapter_digest"] for manifest in manifests}) == len(algorithms)


def test_a_failing_evaluator_fails_the_job_with_its_sentence(base: Path, tmp_path: Path) -> None:
    code = "def reward(rows, labels):\n    raise ValueError('the ruler broke')\n"
    source = evaluator_source(tmp_path / "evaluator", code)
    with RewardServer(get_backend(), source) as server, pytest.raises(TrainingError, match="the ruler broke"):
        run_training(training_spec(tmp_path / "job", base, HYPER), server, lambda _: None)
    assert not (tmp_path / "job" / "manifest.json").exists()


def test_a_collapse_goes_back_to_the_best_weights_at_a_third_of_the_rate(base: Path, tmp_path: Path) -> None:
    code = (
        "n = []\n\ndef reward(rows, labels):\n    n.append(1)\n    return [float(len(n) <= 6)] * len(rows)\n"
    )
    source = evaluator_source(tmp_path / "evaluator", code)
    with RewardServer(get_backend(), source) as server:
        result = run_training(training_spec(tmp_path / "job", base, HYPER), server, lambda _: None)
    assert "mean reward fell from 1.000" in result.manifest["metrics"]["collapse"]
    first, second = ([row for row in result.metrics if row["attempt"] == attempt] for attempt in (0, 1))
    assert first[-1]["step"] < 14 and second[-1]["step"] == 14
    assert second[0]["step"] == 4 and second[0]["lr"] == pytest.approx(HYPER["lr"] / 3)
