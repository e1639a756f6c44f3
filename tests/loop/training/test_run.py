"""The parent's side without a training process: progress, last words, finished folders, manifests."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from loop.errors import TrainingError
from loop.training import features
from loop.training.manifest import adapter_digest, build_manifest, read_finished, versions, write_json
from loop.training.run import last_words, progress_of, read_metrics
from tests.loop.training.parts import training_spec


def finished(folder: Path) -> None:
    """What a finished job leaves, with a false adapter."""
    spec = training_spec(folder, folder, {})
    adapter = folder / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}\n")
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    write_json(folder / "manifest.json", build_manifest(spec, adapter, {"steps": 3}))


def test_a_manifest_says_where_an_adapter_came_from(tmp_path: Path) -> None:
    finished(tmp_path)
    spec = training_spec(tmp_path, tmp_path, {})
    manifest = read_finished(spec)
    assert manifest is not None
    assert manifest["adapter_digest"] == adapter_digest(tmp_path / "adapter")
    assert (manifest["base_digest"], manifest["parent_digest"]) == ("b" * 64, None)
    assert (manifest["algorithm"], manifest["seed"], manifest["hyper"]["steps"]) == ("grpo", 7, 150)
    assert manifest["dataset_digest"] == spec.dataset_digest
    assert manifest["trajectory_digests"] == ["t" * 64]
    assert manifest["libraries"] == versions() and manifest["metrics"] == {"steps": 3}
    assert str(tmp_path) not in json.dumps(manifest)


def test_a_folder_without_a_manifest_is_not_finished(tmp_path: Path) -> None:
    assert read_finished(training_spec(tmp_path, tmp_path, {})) is None


def test_another_jobs_result_is_refused(tmp_path: Path) -> None:
    finished(tmp_path)
    other = replace(training_spec(tmp_path, tmp_path, {}), seed=8)
    with pytest.raises(TrainingError, match="another training job"):
        read_finished(other)


def test_an_adapter_that_was_changed_is_refused(tmp_path: Path) -> None:
    finished(tmp_path)
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(b"Weights")
    with pytest.raises(TrainingError, match="not the one its manifest names"):
        read_finished(training_spec(tmp_path, tmp_path, {}))


@pytest.mark.parametrize("extra", ["adapter_model.bin", "optimizer.pt"])
def test_an_adapter_folder_with_anything_else_in_it_is_refused(tmp_path: Path, extra: str) -> None:
    finished(tmp_path)
    (tmp_path / "adapter" / extra).write_bytes(b"")
    with pytest.raises(TrainingError, match="must hold exactly"):
        adapter_digest(tmp_path / "adapter")


def test_a_line_that_is_still_being_written_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    path.write_text('{"step": 1}\n{"step": ')
    assert read_metrics(path) == [{"step": 1}]


def test_progress_tells_the_time_to_go_from_the_last_steps() -> None:
    rows = [
        {"step": step, "total": 50, "attempt": 0, "reward": 0.5, "seconds": 10 + step * 0.2}
        for step in range(1, 31)
    ]
    progress = progress_of(rows)
    assert (progress.step, progress.total, progress.reward) == (30, 50, 0.5)
    assert progress.eta_s == pytest.approx(4.0)
    assert progress_of(rows[:1]).eta_s is None


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("noise\nTrainingError: It fell.\nmore noise\n", "It fell."),
        ("Traceback\n  File\nValueError: bad\n\n", "ValueError: bad"),
        ("", "it left no log."),
    ],
)
def test_the_last_words_of_a_log_are_its_own_sentence_or_its_last_line(
    tmp_path: Path, log: str, said: str
) -> None:
    (tmp_path / "log").write_text(log)
    assert last_words(tmp_path / "log") == said


def test_a_missing_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "PACKAGES", ("json", "no_such_package_anywhere"))
    available, sentence = features.training_available()
    assert not available
    assert "no_such_package_anywhere" in sentence and "setup --extra train" in sentence
    monkeypatch.setattr(features, "PACKAGES", ("json",))
    assert features.training_available() == (True, "")
