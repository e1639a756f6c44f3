"""The bundled task digits: data that cannot leak, a base model made twice alike, a seed harness worth improving."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import numpy as np
import pytest
from openai import OpenAI

from loop.agents.settings_file import parse_settings
from loop.catalog import load_task, read_ids
from loop.gateway import GatewayLimits, Upstream, open_gateway
from loop.preflight import CHEATS, EXPOSED, Ended, judge, read_verdicts
from loop.preflight_run import Stand, examine
from loop.runtimes import ensure_runtime
from loop.scoring import Evaluation
from loop.serving.manager import Served, serve, stop_servers

TASK = Path(__file__).resolve().parents[2] / "tasks" / "digits"
SPLITS = ("public-train", "public-val", "hidden")


def module(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def prepare() -> Iterator[ModuleType]:
    sys.path.insert(0, str(TASK))
    yield module("digits_prepare", TASK / "prepare.py")
    sys.path.remove(str(TASK))


@pytest.fixture(scope="module")
def evaluator() -> ModuleType:
    return module("digits_evaluate", TASK / "evaluator" / "evaluate.py")


@pytest.fixture(scope="module")
def seed() -> ModuleType:
    return module("digits_seed", TASK / "seed" / "main.py")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole of what prepare.py makes, by its command line."""
    out = tmp_path_factory.mktemp("digits") / "data"
    command = [sys.executable, str(TASK / "prepare.py"), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["model"] == "digits-base"
    return out


@pytest.fixture(scope="module")
def served(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    state = tmp_path_factory.mktemp("state")
    yield serve(data / "models" / "digits-base", state)
    stop_servers(state)


def folders(data: Path, split: str) -> tuple[Path, Path]:
    if split == "hidden":
        return data / "hidden" / "inputs", data / "hidden" / "labels"
    return data / "public" / split, data / "labels" / split


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_splits_have_their_declared_sizes_and_share_no_scan(data: Path, prepare: ModuleType) -> None:
    task = load_task(TASK, data)
    scans = [
        [json.dumps(item["scan"]) for item in rows(folders(data, name)[0] / "inputs.jsonl")]
        for name in SPLITS
    ]
    assert [len(split) for split in scans] == [task.splits[name] for name in SPLITS] == [747, 250, 400]
    pretrain = [json.dumps(item.scan.tolist()) for item in prepare.split_items(1)["pretrain"]]
    everything = [scan for split in (*scans, pretrain) for scan in split]
    assert len(everything) == len(set(everything)) == 1797


def test_what_a_harness_sees_holds_no_label_and_ids_and_order_tell_nothing(data: Path) -> None:
    names = {path.name for path in (data / "public").rglob("*") if path.is_file()}
    assert names == {"inputs.jsonl"} == {path.name for path in (data / "hidden" / "inputs").iterdir()}
    words = load_words()
    for split in SPLITS:
        inputs, labels = folders(data, split)
        shown = rows(inputs / "inputs.jsonl")
        assert all(item.keys() == {"id", "scan"} for item in shown)
        answers = {row["id"]: words.index(row["answer"]) for row in rows(labels / "labels.jsonl")}
        assert answers.keys() == set(read_ids(inputs, "inputs.jsonl"))
        digits = [answers[item["id"]] for item in shown]
        number = [int(item["id"], 16) for item in shown]
        for order in (np.arange(len(digits)), number):
            assert abs(np.corrcoef(np.asarray(order, float), digits)[0, 1]) < 0.15


def test_canaries_look_like_scans_and_their_labels_are_no_digits(data: Path) -> None:
    folder = data / "hidden" / "canaries"
    shown, labels = rows(folder / "inputs.jsonl"), rows(folder / "labels.jsonl")
    assert [row["id"] for row in shown] == [row["id"] for row in labels]
    assert len({row["answer"] for row in labels} - set(load_words())) == len(labels) == 20
    taken = {
        row["id"]: json.dumps(row["scan"])
        for name in SPLITS
        for row in rows(folders(data, name)[0] / "inputs.jsonl")
    }
    assert not {row["id"] for row in shown} & taken.keys()
    assert not {json.dumps(row["scan"]) for row in shown} & set(taken.values())
    assert all(row.keys() == {"id", "scan"} for row in shown)


def test_the_other_form_of_the_hidden_scans_differs_and_reads_the_same(
    data: Path, prepare: ModuleType, seed: ModuleType
) -> None:
    plain = {row["id"]: row["scan"] for row in rows(data / "hidden" / "inputs" / "inputs.jsonl")}
    other = {row["id"]: row["scan"] for row in rows(data / "hidden" / "reworded" / "inputs.jsonl")}
    assert plain.keys() == other.keys()
    assert sum(plain[key] != other[key] for key in plain) > 390
    for key in plain:
        for pooling in ("mean", "max"):
            assert seed.rendered(plain[key], pooling, 17) == seed.rendered(other[key], pooling, 17)


def test_the_evaluator_counts_canaries_in_no_metric(tmp_path: Path, evaluator: ModuleType) -> None:
    labels = [{"id": "a", "answer": "one"}, {"id": "b", "answer": "f00d"}]
    given = [{"id": "a", "answer": "one"}, {"id": "b", "answer": "two"}]
    for name, content in (("labels", labels), ("canaries", [{"id": "b"}]), ("predictions", given)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    found = evaluator.evaluate(str(tmp_path), str(tmp_path))
    assert found == {"items": {"a": 1.0, "b": 0.0}, "metrics": {"accuracy": 1.0}}


def load_words() -> tuple[str, ...]:
    return ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def test_the_same_seed_makes_the_same_files_and_another_seed_makes_others(
    prepare: ModuleType, tmp_path: Path
) -> None:
    short = prepare.Recipe(steps=8, batch=32, rate=2e-3)
    digests = {
        name: prepare.prepare(tmp_path / name, seed, short) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    }
    assert digests["a"] == digests["b"] != digests["c"]
    for path in sorted(path for path in (tmp_path / "a").rglob("*") if path.is_file()):
        twin = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.read_bytes() == twin.read_bytes(), path
    ids = [set(read_ids(folders(tmp_path / name, "hidden")[0], "inputs.jsonl")) for name in ("a", "c")]
    assert not ids[0] & ids[1]


def test_preparing_into_a_folder_that_is_in_use_is_refused(prepare: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(FileExistsError, match="not empty"):
        prepare.prepare(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_backward_pass_agrees_with_finite_differences(prepare: ModuleType) -> None:
    from pretrain import Shape, Tape, initial_weights, loss_and_slope  # type: ignore[import-not-found]

    rng = np.random.default_rng(0)
    shape = Shape(vocabulary=11, width=8, layers=2, heads=2, hidden=12)
    weights = {name: value.astype(np.float64) for name, value in initial_weights(shape, rng).items()}
    ids = rng.integers(0, 11, (3, 6))
    counted = rng.random((3, 5)) < 0.7

    def loss() -> tuple[float, Any, Any]:
        tape = Tape(weights, shape, 5)
        value, slope = loss_and_slope(tape.forward(ids[:, :-1]), ids[:, 1:], counted)
        return value, tape, slope

    _, tape, slope = loss()
    grads = tape.backward(ids[:, :-1], slope)
    assert grads.keys() == weights.keys()
    for name, weight in weights.items():
        at = np.unravel_index(int(np.abs(grads[name]).argmax()), weight.shape)
        kept = weight[at]
        weight[at] = kept + 1e-3
        above = loss()[0]
        weight[at] = kept - 1e-3
        below = loss()[0]
        weight[at] = kept
        assert (above - below) / 2e-3 == pytest.approx(grads[name][at], rel=2e-3, abs=1e-6), name


def test_the_evaluator_counts_exact_names_only(evaluator: ModuleType, tmp_path: Path) -> None:
    labels, outputs = tmp_path / "labels", tmp_path / "out"
    for folder, name, answers in (
        (labels, "labels.jsonl", {"a": "one", "b": "two", "c": "six", "d": "six"}),
        (outputs, "predictions.jsonl", {"a": "one", "b": "Two", "c": "six seven", "d": "six"}),
    ):
        folder.mkdir()
        text = "".join(json.dumps({"id": key, "answer": value}) + "\n" for key, value in answers.items())
        (folder / name).write_text(text)
    result = evaluator.evaluate(str(outputs), str(labels))
    assert result == {"items": {"a": 1.0, "b": 0.0, "c": 0.0, "d": 1.0}, "metrics": {"accuracy": 0.5}}
    asked = [("a", " one\n"), ("a", "one one"), ("b", ""), ("x", "one")]
    completions = [{"id": key, "completion": text} for key, text in asked]
    assert evaluator.reward(completions, str(labels)) == [1.0, 0.0, 0.0, None]


@pytest.mark.parametrize("lines", [["a"], ["a", "a", "b"], ["a", "b", "c"], []])
def test_the_evaluator_gives_no_score_for_ids_that_do_not_match(
    evaluator: ModuleType, tmp_path: Path, lines: list[str]
) -> None:
    answers = [json.dumps({"id": key, "answer": "one"}) for key in ("a", "b")]
    (tmp_path / "labels.jsonl").write_text("\n".join(answers))
    (tmp_path / "predictions.jsonl").write_text(
        "\n".join(json.dumps({"id": k, "answer": "one"}) for k in lines)
    )
    with pytest.raises(ValueError, match="exactly once"):
        evaluator.evaluate(str(tmp_path), str(tmp_path))


def test_the_seed_harness_draws_scans_as_the_base_model_learnt_them(
    data: Path, prepare: ModuleType, seed: ModuleType
) -> None:
    from scans import SHIFTS, prompt_of, shifted  # type: ignore[import-not-found]

    assert set(seed.MOVES["around"]) == set(SHIFTS)
    for item in rows(data / "public" / "public-val" / "inputs.jsonl")[:60]:
        for down, right in SHIFTS:
            wanted = prompt_of(shifted(np.array(item["scan"]), down, right))
            assert seed.rendered(seed.moved(item["scan"], down, right), "mean", 17) == wanted


@pytest.mark.parametrize(
    ("reply", "strict", "lenient"),
    [
        ("seven", "seven", "seven"),
        (" Two\n", "two", "two"),
        ("sevn", "", "seven"),
        ("", "", "zero"),
        ("qq", "", "zero"),
    ],
)
def test_replies_are_read_as_the_settings_say(
    seed: ModuleType, reply: str, strict: str, lenient: str
) -> None:
    assert seed.extracted(reply, "strict") == strict
    if reply.strip("q"):
        assert seed.extracted(reply, "lenient") == lenient
    assert seed.extracted(reply, "lenient") in load_words()


def test_every_tunable_of_the_seed_is_declared_and_searchable(seed: ModuleType) -> None:
    tunables = parse_settings((TASK / "seed" / "settings.toml").read_text())
    assert set(tunables) == {"votes", "temperature", "shifts", "pooling", "levels", "extraction", "retries"}
    assert all(tunable.searchable for tunable in tunables.values())
    assert seed.settings(TASK / "seed") == {name: tunable.value for name, tunable in tunables.items()}
    assert set(tunables["shifts"].choices) == set(seed.MOVES)


def accuracy(seed: ModuleType, served: Served, data: Path, tmp_path: Path, **changes: object) -> float:
    """Hidden accuracy of the first 200 items, through the real gateway and model server."""
    inputs, labels = folders(data, "hidden")
    values = seed.settings(TASK / "seed") | changes
    answers = {row["id"]: row["answer"] for row in rows(labels / "labels.jsonl")}
    socket = tmp_path / "llm.sock"
    with open_gateway(socket, Upstream(served.base_url, served.model), GatewayLimits(), 1) as session:
        http = httpx2.Client(transport=httpx2.HTTPTransport(uds=str(socket)))
        with OpenAI(base_url="http://gateway/v1", api_key="none", http_client=http) as client:
            reader = seed.Reader(values, client)
            given = [reader.answer(item) for item in rows(inputs / "inputs.jsonl")[:200]]
        assert {call.item_id for call in session.calls} == {row["id"] for row in given}
    return float(np.mean([answers[row["id"]] == row["answer"] for row in given]))


def test_the_seed_is_weak_and_its_settings_alone_can_raise_hidden_accuracy(
    seed: ModuleType, served: Served, data: Path, tmp_path: Path
) -> None:
    weak = accuracy(seed, served, data, tmp_path)
    assert 0.25 < weak < 0.6
    tuned = accuracy(seed, served, data, tmp_path, votes=5, shifts="around", temperature=0.3)
    assert weak + 0.08 < tuned < 0.9


def test_every_cheat_that_ships_comes_to_nothing_or_to_a_guess(
    data: Path, served: Served, tmp_path: Path
) -> None:
    """The submissions without packages; those of the seed harness run in the preflight itself."""
    task = load_task(TASK, data)
    inputs = task.inputs("public-val")
    bare = ensure_runtime(None, tmp_path / "runtimes")
    ids = read_ids(inputs, task.inputs_file)
    stand = Stand(
        task,
        task.inputs,
        Evaluation(task.evaluator, task.labels("public-val"), ids, task, bare),
        bare,
        Upstream(served.base_url, served.model),
        GatewayLimits(max_completion_tokens=8),
    )
    verdicts = [verdict for verdict in read_verdicts(task) if not verdict.settings]
    assert len([verdict for verdict in verdicts if verdict.kind == CHEATS]) >= 25
    with ThreadPoolExecutor(2) as pool:
        checks = [check for found, _ in pool.map(partial(examine, stand), verdicts) for check in found]
    assert not [check.line() for check in checks if not check.passed]


def test_the_one_cheat_that_is_not_refused_is_told_and_only_public_labels_allow_it(data: Path) -> None:
    task = load_task(TASK, data)
    exposed = [verdict for verdict in read_verdicts(task) if verdict.kind == EXPOSED]
    assert [verdict.name for verdict in exposed] == ["memorised_file"]
    secret = replace(task, label_secrecy="secret")
    assert judge(exposed[0], Ended("ok", 1.0), task).passed
    assert not judge(exposed[0], Ended("ok", 1.0), secret).passed


@pytest.mark.train
def test_transformers_computes_the_logits_that_the_base_model_was_trained_with(
    data: Path, prepare: ModuleType
) -> None:
    import torch
    from pretrain import Shape, Tape
    from safetensors.numpy import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = data / "models" / "digits-base"
    ids = np.array([prepare.padded([("aakhabqqaaqkadpb=", "seven")])[0][0]])
    assert AutoTokenizer.from_pretrained(folder)("aakhabqqaaqkadpb=seven").input_ids == ids[0][:-1].tolist()
    ours = Tape(load_file(folder / "model.safetensors"), Shape(99), ids.shape[1]).forward(ids)
    with torch.inference_mode():
        theirs = AutoModelForCausalLM.from_pretrained(folder)(torch.tensor(ids)).logits.numpy()
    assert np.abs(ours - theirs).max() < 1e-4
