"""Task folders: what is accepted, and the sentence that a malformed one gets."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from loop.catalog import load_task, read_ids
from loop.errors import TaskError
from loop.preparation import prepared_data
from tests.loop.tiny_task import TASK_TOML, write_task, write_tree


def test_a_good_task_is_loaded_with_its_limits_and_schema(tmp_path: Path) -> None:
    task = load_task(write_task(tmp_path))
    assert (task.id, task.metric.name, task.metric.maximize) == ("tiny", "accuracy", True)
    assert (task.limits.wall_s, task.limits.processes) == (20.0, 64)
    assert task.outputs.fields["answer"].max_length == 40
    assert task.model is None and task.splits == {"public-val": 4}
    assert task.inputs("public-val") == tmp_path / "public" / "public-val"


def test_a_task_with_a_model_and_prepared_data_points_there(tmp_path: Path) -> None:
    toml = TASK_TOML + '\n[model]\nbase = "tiny-base"\nmax_tokens = 8\n'
    task = load_task(write_task(tmp_path / "task", toml=toml), tmp_path / "data")
    assert task.model_dir() == tmp_path / "data" / "models" / "tiny-base"
    assert task.labels("public-val") == tmp_path / "data" / "labels" / "public-val"
    assert task.evaluator == tmp_path / "task" / "evaluator"


MODEL = '\n[model]\nbase = "tiny-base"\nmax_tokens = 8\n'


def test_a_task_may_fix_hyper_parameters_of_its_weight_updates(tmp_path: Path) -> None:
    toml = TASK_TOML + MODEL + "[training]\nsteps = 20\nlr = 1\nschedule = 'constant'\n"
    with pytest.raises(TaskError, match=r"\[training\]: The hyper-parameter lr must lie in"):
        load_task(write_task(tmp_path / "wrong", toml=toml))
    task = load_task(write_task(tmp_path / "right", toml=toml.replace("lr = 1", "lr = 0.01")))
    assert task.training == {"steps": 20, "lr": 0.01, "schedule": "constant"}
    assert load_task(write_task(tmp_path / "none")).training == {}


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        (MODEL + "[training]\nspeed = 3\n", r"task.toml: \[training\]: There is no hyper-parameter 'speed'"),
        (MODEL + "[training]\nmax_completion = 3\n", "no hyper-parameter 'max_completion'"),
        (MODEL + "[training]\nsteps = 'many'\n", "steps must be of type int"),
        ("[training]\nsteps = 20\n", r"training is of no use without a \[model\]"),
    ],
)
def test_wrong_settings_for_weight_updates_are_refused_with_one_sentence(
    tmp_path: Path, toml: str, sentence: str
) -> None:
    with pytest.raises(TaskError, match=sentence):
        load_task(write_task(tmp_path, toml=TASK_TOML + toml))


def test_infinite_metric_ranges_are_allowed(tmp_path: Path) -> None:
    toml = TASK_TOML.replace("range = [0.0, 1.0]", "range = [-inf, 1.0]\nitem_range = [0.0, inf]")
    metric = load_task(write_task(tmp_path, toml=toml)).metric
    assert (metric.low, metric.item_low, metric.item_high) == (-math.inf, 0.0, math.inf)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('id = "tiny"', "", "id is missing"),
        ('id = "tiny"', 'id = "../tiny"', "id may hold only letters"),
        ('title = "Tiny"', "title = 3", "title must be a non-empty string"),
        ('label_secrecy = "public"', 'label_secrecy = "maybe"', "label_secrecy must be secret or public"),
        ("needs = []", 'needs = ["tpu"]', "needs may hold only gpu"),
        ("needs = []", "surprise = 1", "surprise is not a known field"),
        ('direction = "maximize"', 'direction = "up"', "metric.direction must be maximize or minimize"),
        ("range = [0.0, 1.0]", "range = [1.0, 0.0]", "metric.range must rise"),
        ("range = [0.0, 1.0]", "range = [0.0]", "metric.range must be a list of two numbers"),
        ("range = [0.0, 1.0]", "range = [nan, 1.0]", "metric.range must be a number"),
        ('file = "predictions.jsonl"', 'file = "a/b.jsonl"', "outputs.file may hold only letters"),
        (
            'type = "string", max_length = 40',
            'type = "pickle"',
            "outputs.fields.answer.type must be string or",
        ),
        ('type = "string", max_length = 40', 'type = "string"', "needs a max_length or choices"),
        (
            'type = "string", max_length = 40',
            'type = "number", max_length = 40',
            "max_length is not a known field",
        ),
        ("answer = {", "id = {", "outputs.fields must declare at least one field, and not id"),
        ("public-val = 4", "hidden = 4", "splits.public-val is missing"),
        ("public-val = 4", "public-val = 0", "splits.public-val must be a positive integer"),
        ("wall_s = 20", "wall_s = inf", "limits must hold positive numbers"),
        ("wall_s = 20", "wall_s = -1", "limits must hold positive numbers"),
        ("wall_s = 20", "wall = 20", "limits.wall is not a known field"),
        ("wall_s = 20", "memory_mib = true", "limits.memory_mib must be a positive integer"),
        ("[limits]", "[limits", "cannot be read as TOML"),
    ],
)
def test_a_malformed_field_is_named_with_what_is_wrong(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    assert old in TASK_TOML
    with pytest.raises(TaskError) as caught:
        load_task(write_task(tmp_path, toml=TASK_TOML.replace(old, new)))
    assert sentence in str(caught.value)
    assert str(tmp_path / "task.toml") in str(caught.value)


def test_a_folder_without_task_toml_is_no_task(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"has no task\.toml"):
        load_task(tmp_path)


def test_the_hidden_split_cannot_be_asked_for(tmp_path: Path) -> None:
    task = load_task(write_task(tmp_path))
    for ask in (task.inputs, task.labels):
        with pytest.raises(TaskError, match="hidden is not public"):
            ask("hidden")
    with pytest.raises(TaskError, match=r"declares no \[model\]"):
        task.model_dir()


def test_loading_never_opens_hidden_data_or_labels(tmp_path: Path) -> None:
    folder = write_task(tmp_path)
    for name in ("labels/public-val/labels.jsonl", "hidden/labels/labels.jsonl"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        os.mkfifo(path)  # opening one would block for ever
    assert load_task(folder).id == "tiny"


@pytest.mark.parametrize(
    "text", ["", "{}\n", '{"id": 3}\n', '{"id": "a"}\n{"id": "a"}\n', "no json\n", "[1]\n"]
)
def test_inputs_without_proper_ids_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "inputs.jsonl").write_text(text)
    with pytest.raises(TaskError, match=r"inputs\.jsonl"):
        read_ids(tmp_path, "inputs.jsonl")


def test_ids_are_read_in_order_and_a_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "inputs.jsonl").write_text('{"id": "b"}\n\n{"id": "a"}\n')
    assert read_ids(tmp_path, "inputs.jsonl") == ("b", "a")
    with pytest.raises(TaskError, match="is missing"):
        read_ids(tmp_path, "other.jsonl")


PREPARE = """
import pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
(out / "public").mkdir(parents=True)
(out / "public" / "made").write_text("x")
"""


def test_prepare_runs_once_for_one_content_and_again_for_another(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "task", {"prepare.py": PREPARE})
    first = prepared_data(folder, tmp_path / "store")
    assert (first / "public" / "made").read_text() == "x"
    (first / "public" / "made").write_text("kept")
    assert prepared_data(folder, tmp_path / "store") == first
    assert (first / "public" / "made").read_text() == "kept"
    write_tree(folder, {"other.txt": "changed"})
    assert prepared_data(folder, tmp_path / "store") != first


def test_a_task_without_prepare_has_its_data_in_the_folder(tmp_path: Path) -> None:
    assert prepared_data(tmp_path, tmp_path / "store") == tmp_path


def test_a_failing_prepare_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "task", {"prepare.py": "raise SystemExit('no disk')"})
    with pytest.raises(TaskError, match="no disk"):
        prepared_data(folder, tmp_path / "store")
    assert not [path for path in (tmp_path / "store").iterdir() if path.is_dir()]
