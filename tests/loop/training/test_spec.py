"""A training job as a value, and its hyper-parameters."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loop.errors import TrainingError
from loop.training.hyper import resolve
from loop.training.spec import spec_from_json
from tests.loop.training.parts import training_spec


def test_a_specification_survives_json(tmp_path: Path) -> None:
    spec = training_spec(tmp_path, tmp_path, {"steps": 5})
    assert spec_from_json(spec.to_json()) == spec


def test_identity_ignores_places_and_time_and_nothing_else(tmp_path: Path) -> None:
    spec = training_spec(tmp_path, tmp_path, {"steps": 5})
    elsewhere = replace(
        spec, out_dir="/x", base_dir="/y", dataset_path="/z", reward_socket="/s", budget_s=9.0
    )
    assert elsewhere.identity() == spec.identity()
    changes: list[dict[str, Any]] = [
        {"seed": 8}, {"hyper": {"steps": 6}}, {"algorithm": "rloo"}, {"base_digest": "c" * 64},
        {"dataset_digest": "d" * 64}, {"trajectory_digests": ()},
        {"parent_adapter_dir": "/p", "parent_digest": "e" * 64},
    ]  # fmt: skip
    assert len({replace(spec, **change).identity() for change in changes} | {spec.identity()}) == 8


def test_identity_counts_a_default_like_the_same_value_written_out(tmp_path: Path) -> None:
    spec = training_spec(tmp_path, tmp_path, {})
    assert replace(spec, hyper={"steps": 150}).identity() == spec.identity()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": "7"}, "seed"),
        ({"budget_s": 0}, "budget"),
        ({"out_dir": "relative"}, "absolute"),
        ({"parent_adapter_dir": "/p"}, "both its folder and its digest"),
        ({"algorithm": "dpo"}, "not implemented"),
        ({"hyper": {"learning": 1}}, "no hyper-parameter 'learning'"),
        ({"colour": "red"}, "unknown fields: colour"),
    ],
)
def test_a_wrong_specification_is_refused_with_one_sentence(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    values = json.loads(training_spec(tmp_path, tmp_path, {}).to_json()) | change
    with pytest.raises(TrainingError, match=said):
        spec_from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "[]", '{"seed": 1}'])
def test_what_is_no_specification_is_refused(text: str) -> None:
    with pytest.raises(TrainingError, match="specification"):
        spec_from_json(text)


def test_asked_values_are_laid_over_the_defaults() -> None:
    hyper = resolve("rejection", {"steps": 7, "temperature": 1})
    assert (hyper.steps, hyper.max_wins) == (7, 4)
    assert isinstance(hyper.temperature, float)


@pytest.mark.parametrize(
    "asked",
    [{"steps": 0}, {"steps": 1.5}, {"steps": True}, {"lr": float("nan")}, {"lr": 1.0}, {"loss": "best"},
     {"schedule": 3}, {"generations": 1}],
)  # fmt: skip
def test_an_impossible_hyper_parameter_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match="hyper-parameter"):
        resolve("grpo", asked)


@pytest.mark.parametrize("algorithm", ["dpo", "kto", "none", ""])
def test_an_algorithm_that_is_not_implemented_is_refused_and_never_replaced(algorithm: str) -> None:
    with pytest.raises(TrainingError, match="not implemented here; choose one of"):
        resolve(algorithm, {})
