"""From recorded model calls to training prompts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from governance.digests import file_digest
from loop.errors import TrainingError
from loop.training.dataset import build_dataset, calls_digest, prompt_messages, write_dataset
from tests.loop.training.parts import model_call

ITEMS = frozenset({"i0", "i1"})


def test_each_item_counts_once_with_its_first_prompt_in_an_order_of_its_own() -> None:
    calls = [
        model_call(0, "i1", "x="), model_call(1, "i0", "z="), model_call(2, "i1", "x="), model_call(3, "i0", "y="),
    ]  # fmt: skip
    data = build_dataset(calls, ITEMS)
    assert [(row.item_id, row.prompt[0]["content"]) for row in data.rows] == [("i0", "z="), ("i1", "x=")]
    assert data.excluded == {"about an item that is there already": 2}
    assert build_dataset(reversed(calls), ITEMS).rows == data.rows


def test_what_cannot_be_learned_from_is_left_out_and_counted() -> None:
    talk = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    calls = [
        model_call(0),
        model_call(1, None),
        model_call(2, "hidden-7"),
        model_call(3, status=429, error="spent"),
        model_call(4, request=talk),
    ]
    data = build_dataset(calls, ITEMS)
    assert len(data.rows) == 1 and data.calls == 5
    assert data.excluded == {
        "without an item id": 1,
        "about an item outside public-train": 1,
        "that failed": 1,
        "continuing a conversation or not plain text": 1,
    }
    assert "1 without an item id" in data.summary()


def test_calls_of_which_none_names_an_item_are_an_error_with_the_remedy() -> None:
    with pytest.raises(TrainingError, match=r"metadata\.item_id"):
        build_dataset([model_call(0, None)], ITEMS)


def test_the_longest_answer_asked_for_is_kept() -> None:
    longer = model_call(1, "i1", request={"messages": [{"role": "user", "content": "q"}], "max_tokens": 21})
    assert build_dataset([model_call(0), longer], ITEMS).max_completion == 21


def test_both_protocols_give_the_same_prompt() -> None:
    openai = {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]}
    anthropic = {"system": "s", "messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}]}
    assert prompt_messages(openai) == prompt_messages(anthropic)
    assert prompt_messages(openai) == ({"role": "system", "content": "s"}, {"role": "user", "content": "q"})


@pytest.mark.parametrize(
    "request_body",
    [{}, {"messages": []}, {"messages": [{"role": "tool", "content": "x"}]},
     {"messages": [{"role": "user", "content": [{"type": "image"}]}]}],
)  # fmt: skip
def test_a_request_without_a_fresh_text_prompt_gives_none(request_body: dict[str, object]) -> None:
    assert prompt_messages(request_body) is None


def test_the_trajectory_digest_sees_replies_and_not_timings() -> None:
    one, slower = model_call(0, latency_ms=1.0), model_call(0, latency_ms=9.0)
    assert calls_digest([one]) == calls_digest([slower])
    assert calls_digest([one]) != calls_digest([model_call(0, reply={"choices": [1]})])


def test_the_file_is_one_json_row_a_line_and_has_the_digest_returned(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    digest = write_dataset(build_dataset([model_call(0), model_call(1, "i1")], ITEMS).rows, path)
    assert digest == file_digest(path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows[0] == {"item_id": "i0", "prompt": [{"role": "user", "content": "ab="}]}
