"""Answers without the model: from the record of an earlier run, and from a cache of replies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loop.gateway import GatewayLimits, Memory, Record, ReplyCache, Upstream, open_gateway
from loop.gateway.content import content_key, differences
from loop.prices import Prices
from loop.types import ModelCall
from tests.loop.fake_providers import Drop, Fault, Say
from tests.loop.gateway_bench import Bench, opened


def said(bench: Bench, text: str, **fields: Any) -> str:
    """The answer to one message, or the sentence of its refusal."""
    response = bench.chat(messages=[{"role": "user", "content": text}], **fields)
    body = response.json()
    return str(
        body["choices"][0]["message"]["content"] if response.status_code == 200 else body["error"]["message"]
    )


def recorded(tmp_path: Path, *texts: str, **fields: Any) -> list[ModelCall]:
    """The calls of a run that asked these texts; the model answers with numbers."""
    with opened(tmp_path) as bench:
        bench.provider.plan(*(Say(f"answer {number}") for number in range(len(texts))))
        for text in texts:
            said(bench, text, **fields)
    return bench.session.calls


def test_a_record_answers_the_same_calls_without_the_model(tmp_path: Path) -> None:
    record = Record(recorded(tmp_path, "a", "b", "a"))
    with opened(tmp_path, memory=Memory(record=record), prices=Prices(5, 5), max_cost_usd=0.0) as bench:
        assert [said(bench, text) for text in ("b", "a", "a")] == ["answer 1", "answer 0", "answer 2"]
        assert bench.provider.seen == [] and bench.provider.connections == 0
    assert record.divergence() is None
    assert {(call.source, call.cost_usd) for call in bench.session.calls} == {("record", 0.0)}
    assert bench.session.usage() == (3, 0, 0.0)


def test_identical_requests_with_a_seed_of_their_own_are_answered_in_order(tmp_path: Path) -> None:
    record = Record(recorded(tmp_path, "a", "a", "a", seed=3))
    with opened(tmp_path, memory=Memory(record=record)) as bench:
        assert [said(bench, "a", seed=3) for _ in range(3)] == ["answer 0", "answer 1", "answer 2"]
        assert "asked more often than recorded" in said(bench, "a", seed=3)
    divergence = record.divergence()
    assert divergence is not None and divergence.index == 3


def test_a_call_that_was_not_recorded_is_a_409_that_says_what_differs(tmp_path: Path) -> None:
    record = Record(recorded(tmp_path, "a", "what is 2 + 2?"))
    with opened(tmp_path, memory=Memory(record=record)) as bench:
        assert said(bench, "a") == "answer 0"
        response = bench.chat(messages=[{"role": "user", "content": "what is 2 + 3?"}], temperature=0.5)
        assert response.status_code == 409 and response.headers["x-should-retry"] == "false"
        sentence = bench.sentence(response)
        assert 'messages[0].content is "what is 2 + 3?", recorded was "what is 2 + 2?"' in sentence
        assert "temperature is 0.5, recorded was absent" in sentence and "seed" not in sentence
        assert bench.chat().status_code == 409 and bench.provider.seen == []
    divergence = record.divergence()
    assert divergence is not None and divergence.index == 1 and "2 + 3" in divergence.what


def test_a_recorded_call_that_is_never_made_is_a_divergence(tmp_path: Path) -> None:
    record = Record(recorded(tmp_path, "a", "b"))
    with opened(tmp_path, memory=Memory(record=record)) as bench:
        said(bench, "a")
    divergence = record.divergence()
    assert divergence is not None and (divergence.index, divergence.what) == (
        1,
        "the recorded call was not made",
    )


def test_recorded_refusals_are_refused_again(tmp_path: Path) -> None:
    with opened(tmp_path, prices=Prices(output=1000.0), max_cost_usd=0.01, deadline_s=0.3) as bench:
        bench.provider.plan(Fault(400, message="too long"), Drop())
        bench.provider.default = Fault(503)
        first = [
            said(bench, "a", max_tokens=10),
            said(bench, "b", max_tokens=10),
            said(bench, "c", max_tokens=10),
        ]
    assert [call.status for call in bench.session.calls] == [400, 402, 402]
    record = Record(bench.session.calls)
    with opened(tmp_path, memory=Memory(record=record)) as again:
        assert [said(again, text, max_tokens=10) for text in "abc"] == first
        assert again.session.limit_hit == bench.session.limit_hit != ""
    assert record.divergence() is None


def test_calls_that_were_cut_off_by_the_end_of_the_run_may_be_missing(tmp_path: Path) -> None:
    calls = recorded(tmp_path, "a", "b")
    record = Record([calls[0], replace(calls[1], status=499, reply=None)])
    with opened(tmp_path, memory=Memory(record=record)) as bench:
        said(bench, "a")
    assert record.divergence() is None


def test_a_cache_answers_what_was_asked_before_at_no_cost(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path / "cache")
    for texts, asked in ((("a", "b", "a"), 3), (("a", "b", "a"), 0), (("a", "c"), 1)):
        with opened(tmp_path, memory=Memory(cache=cache), prices=Prices(5, 5)) as bench:
            bench.provider.default = lambda body: Say(f"{body['messages'][0]['content']}{body['seed']}")
            answers = [said(bench, text) for text in texts]
            sources = [call.source for call in bench.session.calls]
            assert len(bench.provider.seen) == sources.count("provider") == asked
            assert answers[0].startswith("a") and answers[1].startswith(texts[1])
            assert [call.cost_usd for call in bench.session.calls if call.source == "cache"] == [0.0] * (
                len(texts) - asked
            )
            assert bench.session.usage()[1] == 15 * asked


def test_a_cache_knows_models_and_adapters_apart(tmp_path: Path) -> None:
    one = Upstream("http://x", "m", base_model="b", adapter_digest="a")
    request = {"model": "m", "messages": [], "seed": 1.0}
    others = [replace(one, base_model="c"), replace(one, adapter_digest="b"), replace(one, served_model="n")]
    keys = {ReplyCache.key(each, request, 0) for each in (one, *others)} | {ReplyCache.key(one, request, 1)}
    assert len(keys) == 5
    assert ReplyCache.key(one, {**request, "seed": 1}, 0) == ReplyCache.key(one, request, 0)


def test_refusals_are_not_cached_and_a_broken_entry_is_asked_again(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path / "cache")
    with opened(tmp_path, memory=Memory(cache=cache)) as bench:
        bench.provider.plan(Fault(400), Say("good"))
        assert bench.chat().status_code == 400
        assert not (tmp_path / "cache").exists()
        assert bench.chat(seed=1).status_code == 200
        (entry,) = (tmp_path / "cache").glob("*/*.json")
        assert entry.stat().st_mode & 0o077 == 0 and entry.parent.stat().st_mode & 0o077 == 0
        entry.write_text("{")
    with opened(tmp_path, memory=Memory(cache=cache)) as bench:
        bench.provider.default = Say("again")
        assert bench.chat(seed=1).json()["choices"][0]["message"]["content"] == "again"


def test_a_record_needs_no_model_that_can_be_reached(tmp_path: Path) -> None:
    record = Record(recorded(tmp_path, "a"))
    nowhere = Upstream("http://record.invalid", "base")
    with open_gateway(tmp_path / "s", nowhere, GatewayLimits(), 7, Memory(record=record)) as session:
        answer = session.handle(
            "openai", b'{"model":"task-model","messages":[{"role":"user","content":"a"}]}'
        )
    assert answer.status == 200 and b"answer 0" in answer.body


NUMBERS = st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(JSON, JSON)
def test_values_differ_exactly_when_their_keys_do(one: Any, other: Any) -> None:
    differ = content_key(one) != content_key(other)
    assert differ == bool(list(differences({"v": one}, {"v": other})))


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ({"a": [1, 2]}, {"a": [1]}, "a[1] is absent, recorded was 2"),
        ({"a": "x" * 90 + "b"}, {"a": "x" * 90 + "c"}, 'a is …"xxxxxxxxxxxxxxxxxxxxc"'),
        ({"a": {"b": 1}}, {"a": {"b": True}}, "a.b is true, recorded was 1"),
    ],
)
def test_a_difference_names_its_place(one: Any, other: Any, words: str) -> None:
    (found,) = differences(one, other)
    assert words in found
