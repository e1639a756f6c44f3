"""Scores: only from the evaluator's own result file, only for outputs that keep their contract."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loop.catalog import Metric, load_task
from loop.errors import EvaluatorError, OutputRejected
from loop.outputs import FieldSpec, OutputError, OutputSchema, parse_outputs
from loop.runtimes import ensure_runtime
from loop.sandbox import get_backend
from loop.scoring import Evaluation, check_result, score_outputs
from loop.types import Limits, Score
from tests.loop.tiny_task import EVALUATOR, IDS, TASK_TOML, lines, write_task

RIGHT = [{"id": key, "answer": answer} for key, answer in zip(IDS, ("0", "1", "2", "nine"), strict=True)]
METRIC = Metric("accuracy", True, 0.0, 1.0, 0.0, 1.0)


@pytest.fixture
def score(tmp_path: Path) -> Callable[..., Score]:
    """Scores a predictions.jsonl with an evaluator's source, in the real sandbox."""

    def run(predictions: str | bytes, evaluator: str = EVALUATOR, toml: str = TASK_TOML) -> Score:
        task = load_task(write_task(tmp_path / "task", evaluator, toml))
        outputs = tmp_path / "outputs"
        outputs.mkdir(exist_ok=True)
        data = predictions if isinstance(predictions, bytes) else predictions.encode()
        (outputs / "predictions.jsonl").write_bytes(data)
        evaluation = Evaluation(
            task.evaluator,
            task.labels("public-val"),
            IDS,
            task,
            ensure_runtime(None, tmp_path / "runtimes"),
            Limits(wall_s=5, memory_mib=256),
        )
        return score_outputs(get_backend(), evaluation, outputs)

    return run


Scorer = Callable[..., Score]


def test_right_answers_score_one_and_each_item_is_told(score: Scorer) -> None:
    assert score(lines(RIGHT)) == Score(1.0, dict.fromkeys(IDS, 1.0), {"accuracy": 1.0})


def test_wrong_answers_score_what_they_are_worth(score: Scorer) -> None:
    result = score(lines([*RIGHT[:3], {"id": "d", "answer": "4"}]))
    assert (result.value, result.items["d"]) == (0.75, 0.0)


def test_one_answer_out_of_four_is_rejected_and_not_a_hundred_percent(score: Scorer) -> None:
    with pytest.raises(OutputRejected, match="lacks 3 of 4 expected ids, 'b', 'c', 'd' among them"):
        score(lines(RIGHT[:1]))


def test_what_the_evaluator_prints_is_no_score(score: Scorer) -> None:
    printing = EVALUATOR + "\nprint('accuracy: 99.9%')\nprint('{\"result\": 1}')\n"
    assert score(lines(RIGHT), printing).value == 1.0


ITEMS = "{k: 1 for k in 'abcd'}"
PLANT = "import os; open('/out/result.json', 'w').write({text!r}); os._exit({status})"


def planted(text: str, status: int = 0) -> str:
    """An evaluator's body that writes its result file itself and ends."""
    return PLANT.format(text=text, status=status)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("raise ValueError('no labels')", "It raised ValueError."),
        ("raise type('nine', (KeyError,), {})('no labels')", "It raised KeyError."),
        ("raise KeyError('two lines\\nnine: 1')", "It raised KeyError."),
        ("import os; os._exit(0)", "ended without a result"),
        ("raise SystemExit(0)", "ended without a result"),
        (planted('{"result": 0.9}', 3), "exit status 3"),
        (planted('{"result": {"items": {}, "metrics": {"accuracy": 0.99}}}', 3), "exit status 3"),
        (planted("not json"), "cannot be read"),
        (planted("[" * 100_000), "cannot be read"),
        (planted('{"result": 1, "result": 2}'), "a key appears twice"),
        (planted('{"result": {"items": {"a": 0, "a": 1}, "metrics": {}}}'), "a key appears twice"),
        (planted('{"score": 0.99}'), "was not written by its shim"),
        (planted('["result"]'), "was not written by its shim"),
        (planted('{"raised": "nine and\\nmore"}'), "It raised an exception of its own."),
        (
            "import os; os.symlink('/labels/labels.jsonl', '/out/result.json'); os._exit(0)",
            "not a regular file",
        ),
        ("import os; os.mkdir('/out/result.json'); os._exit(0)", "not a regular file"),
        ("return 'x' * (40 << 20)", "The evaluator failed"),
        ("while True: pass", "5 s of wall time"),
        ("import time; time.sleep(60)", "5 s of wall time"),
        ("import os; os.kill(os.getpid(), 9)", "The evaluator failed"),
        ("return [1, 2]", "must return exactly"),
        ("return None", "must return exactly"),
        ("return 0.99", "must return exactly"),
        ("return {'items': {}, 'metrics': {}, 'score': 0.99}", "must return exactly"),
        ("return {'items': [1], 'metrics': {'accuracy': 1.0}}", "items are a list, not an object"),
        ("return {'items': 'all', 'metrics': {'accuracy': 1.0}}", "items are a string, not an object"),
        (f"return {{'items': {ITEMS}, 'metrics': 0.99}}", "metrics are a number, not an object"),
        (
            "return {'items': {}, 'metrics': {'accuracy': 1.0}}",
            "lack 4 of the 4 expected ids and name 0 others",
        ),
        ("return {'items': {'a': 1}, 'metrics': {'accuracy': 1.0}}", "lack 3 of the 4 expected ids"),
        ("return {'items': {k: 1 for k in 'abcde'}, 'metrics': {'accuracy': 1.0}}", "name 1 others"),
        (f"return {{'items': {ITEMS}, 'metrics': {{'accuracy': 'high'}}}}", "hold a string, not a finite"),
        (f"return {{'items': {ITEMS}, 'metrics': {{'accuracy': None}}}}", "hold null, not a finite"),
        (f"return {{'items': {ITEMS}, 'metrics': {{'accuracy': [1.0]}}}}", "hold a list, not a finite"),
        (f"return {{'items': {ITEMS}, 'metrics': {{'accuracy': float('nan')}}}}", "contains NaN"),
        (f"return {{'items': {ITEMS}, 'metrics': {{'accuracy': float('inf')}}}}", "contains Infinity"),
        (f"return {{'items': {ITEMS}, 'metrics': {{'accuracy': 10 ** 400}}}}", "not a finite number"),
        (f"return {{'items': {ITEMS}, 'metrics': {{'accuracy': 10 ** 5000}}}}", "It raised ValueError."),
        (f"return {{'items': {ITEMS}, 'metrics': {{'f1': 1.0}}}}", "no metric named accuracy"),
        (f"return {{'items': {ITEMS}, 'metrics': {{'accuracy': 1, 'f1': 1}}}}", "does not declare"),
        (f"return {{'items': {ITEMS}, 'metrics': {{'accuracy': 1.5}}}}", "accuracy lies outside [0, 1]"),
        ("return {'items': {k: 7 for k in 'abcd'}, 'metrics': {'accuracy': 1.0}}", "a number outside [0, 1]"),
        ("return {'items': {k: True for k in 'abcd'}, 'metrics': {'accuracy': 1.0}}", "hold true or false"),
        ("x = []; [x := [x] for _ in range(100_000)]; return x", "It raised RecursionError."),
        ("return {1: {}, '1': {}, 'metrics': object()}", "It raised TypeError."),
    ],
)
def test_a_failing_evaluator_gives_no_score(score: Scorer, body: str, sentence: str) -> None:
    with pytest.raises(EvaluatorError) as caught:
        score(lines(RIGHT), f"def evaluate(outputs_dir, labels_dir):\n    {body}\n")
    assert sentence in str(caught.value)
    assert "nine" not in str(caught.value)


def test_an_evaluator_that_cannot_be_imported_gives_no_score(score: Scorer) -> None:
    with pytest.raises(EvaluatorError, match="It raised SyntaxError"):
        score(lines(RIGHT), "def evaluate(\n")


def test_further_metrics_are_told_when_they_are_declared_and_missed_when_they_are_not_there(
    score: Scorer,
) -> None:
    also = TASK_TOML.replace('direction = "maximize"', 'direction = "maximize"\nalso = ["f1"]')
    both = EVALUATOR.replace('{"accuracy": ', '{"f1": 0.5, "accuracy": ')
    assert score(lines(RIGHT), both, also).metrics == {"accuracy": 1.0, "f1": 0.5}
    with pytest.raises(EvaluatorError, match="no metric named f1"):
        score(lines(RIGHT), EVALUATOR, also)


def test_a_result_planted_beside_the_outputs_is_not_read(score: Scorer, tmp_path: Path) -> None:
    claim = json.dumps({"result": {"items": dict.fromkeys(IDS, 1.0), "metrics": {"accuracy": 1.0}}})
    (tmp_path / "outputs").mkdir()
    for name in ("result.json", "order.json", "evaluator_shim.py"):
        (tmp_path / "outputs" / name).write_text(claim)
    assert score(lines([*RIGHT[:3], {"id": "d", "answer": "4"}])).value == 0.75
    with pytest.raises(EvaluatorError, match="ended without a result"):
        score(lines(RIGHT), "import os\ndef evaluate(o, l):\n    os._exit(0)\n")


def test_what_an_evaluator_leaves_running_is_dead_and_changes_nothing(score: Scorer) -> None:
    mark = secrets.token_hex(8)
    leaving = EVALUATOR.replace(
        "def evaluate(outputs_dir, labels_dir):",
        "def evaluate(outputs_dir, labels_dir):\n    import subprocess, sys\n"
        f"    subprocess.Popen([sys.executable, '-c', LATE, '{mark}'], start_new_session=True)",
    )
    late = (
        "LATE = \"import time; time.sleep(1); open('/out/result.json', 'w').write('0.99'); time.sleep(60)\"\n"
    )
    assert score(lines(RIGHT), late + leaving).value == 1.0
    commands = (entry / "cmdline" for entry in Path("/proc").glob("[0-9]*"))
    assert not [path for path in commands if mark in _read(path)]


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""


def test_an_evaluator_that_returns_labels_as_scores_does_not_tell_them(score: Scorer) -> None:
    body = (
        "import json\ndef evaluate(o, l):\n    rows = map(json.loads, open(l + '/labels.jsonl'))\n"
        "    return {'items': {row['id']: row['answer'] for row in rows}, 'metrics': {'accuracy': 1.0}}\n"
    )
    with pytest.raises(EvaluatorError, match="items hold a string, not a finite number") as caught:
        score(lines([*RIGHT[:3], {"id": "d", "answer": "4"}]), body)
    assert "'0'" not in str(caught.value)
    assert "a': '0'" in caught.value.log_tail


def test_an_evaluator_cannot_be_changed_from_inside(score: Scorer, tmp_path: Path) -> None:
    body = "def evaluate(o, l):\n    open('/evaluator/evaluate.py', 'w').write('owned')\n"
    with pytest.raises(EvaluatorError, match="It raised OSError") as caught:
        score(lines(RIGHT), body)
    assert "Read-only file system" in caught.value.log_tail
    assert (tmp_path / "task/evaluator/evaluate.py").read_text() == body


def test_the_sentence_of_a_failed_evaluator_quotes_no_label(score: Scorer) -> None:
    body = "def evaluate(o, l):\n    raise KeyError(open('/labels/labels.jsonl').read())\n"
    with pytest.raises(EvaluatorError) as caught:
        score(lines(RIGHT), body)
    assert "nine" not in str(caught.value)
    assert "nine" in caught.value.log_tail


def test_missing_labels_are_an_evaluator_error(tmp_path: Path) -> None:
    task = load_task(write_task(tmp_path / "task"))
    evaluation = Evaluation(
        task.evaluator, tmp_path / "gone", IDS, task, ensure_runtime(None, tmp_path / "r")
    )
    with pytest.raises(EvaluatorError, match="is missing"):
        score_outputs(get_backend(), evaluation, tmp_path)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, True, "1", None, [1.0]])
def test_only_finite_numbers_are_numbers(value: Any) -> None:
    with pytest.raises(EvaluatorError):
        check_result({"items": {"a": value}, "metrics": {"accuracy": 1.0}}, METRIC, ("a",))
    with pytest.raises(EvaluatorError):
        check_result({"items": {"a": 1.0}, "metrics": {"accuracy": value}}, METRIC, ("a",))


# --- the strict parser ---

SCHEMA = OutputSchema(
    "p.jsonl",
    {
        "text": FieldSpec("string", max_length=3),
        "number": FieldSpec("number", low=0.0, high=10.0),
        "whole": FieldSpec("integer"),
        "flag": FieldSpec("boolean"),
        "pick": FieldSpec("string", choices=("x", "y")),
    },
)
GOOD = {"id": "a", "text": "abc", "number": 1.5, "whole": 3, "flag": True, "pick": "x"}


def parse(row: Any, expected: tuple[str, ...] = ("a",)) -> dict[str, dict[str, Any]]:
    data = row if isinstance(row, bytes) else json.dumps(row).encode()
    return parse_outputs(data, SCHEMA, frozenset(expected))


def test_a_good_row_is_parsed_with_or_without_a_last_line_feed() -> None:
    assert parse(GOOD) == {"a": GOOD}
    assert parse(json.dumps(GOOD).encode() + b"\n") == {"a": GOOD}
    assert OutputSchema.from_dict(json.loads(json.dumps(SCHEMA.to_dict()))).fields["text"].max_length == 3


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"text": "abcd"}, "has 4 characters"),
        ({"text": 3}, "text is not a string"),
        ({"text": "\ud800"}, "half a surrogate"),
        ({"text": "\0"}, "NUL"),
        ({"number": "1"}, "number is not a number"),
        ({"number": True}, "number is not a number"),
        ({"number": 10.5}, "outside its declared range"),
        ({"number": None}, "is not a number"),
        ({"whole": 1.0}, "is not an integer"),
        ({"whole": 10**400}, "too large"),
        ({"flag": 1}, "not true or false"),
        ({"pick": "z"}, "allowed choices"),
        ({"id": "A"}, "not one of the expected ids"),
        ({"id": 1}, "not one of the expected ids"),
        ({"id": ["a"]}, "not one of the expected ids"),
        ({"extra": 1}, "keys must be exactly"),
    ],
)
def test_a_value_outside_its_declaration_is_named(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OutputError) as caught:
        parse(GOOD | change)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "lacks 1 of 1"),
        (b"\n", "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b'{"id": "a", "id": "a"}', "a key appears twice"),
        (b'{"id": "a", "number": NaN}', "NaN"),
        (b'{"id": "a", "number": -Infinity}', "Infinity"),
        (b'{"id": "\xff"}', "not valid UTF-8"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (b"\0", "NUL"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"id": "a", "whole": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b"{}\n{}\n", "has 2 rows; 1 are expected"),
        (b" " * (1 << 20) + b"{}", "at most 1048576 are allowed"),
    ],
)
def test_bytes_that_are_no_rows_are_rejected(data: bytes, sentence: str) -> None:
    with pytest.raises(OutputError) as caught:
        parse(data)
    assert sentence in str(caught.value)


def test_a_float_too_large_for_a_float_is_rejected() -> None:
    with pytest.raises(OutputError, match="not a finite number"):
        parse(json.dumps(GOOD).replace("1.5", "1e999").encode())


def test_an_id_given_twice_is_rejected() -> None:
    with pytest.raises(OutputError, match="'a' appears a second time"):
        parse_outputs(2 * (json.dumps(GOOD).encode() + b"\n"), SCHEMA, frozenset({"a", "b"}))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_fail_otherwise_than_by_rejecting(data: bytes) -> None:
    with pytest.raises(OutputError):
        parse(data)
