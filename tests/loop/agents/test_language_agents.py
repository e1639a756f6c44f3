"""The `claude` and `openai` backends through the real SDKs, against a real local server, faults included."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from loop.agents.backends.conversation import MAX_ATTEMPTS, Access, Pace
from loop.agents.backends.openai import OpenAIBackend
from loop.agents.config import ModelInfo, Profile, Provider
from loop.agents.evidence import Evidence, Remaining
from loop.agents.feedback import decide
from loop.agents.meta import first_harness
from loop.errors import BudgetSpent, ProviderError, Refused
from loop.prices import Prices
from loop.training.router import RouterFacts
from loop.types import AgentCallRecord, Decision, Landscape, Lever
from tests.loop.agents.samples import MAIN, evidence
from tests.loop.fake_providers import Drop, FakeProvider, Fault, Say, Step, fake_provider

if TYPE_CHECKING:
    from loop.agents.backends.claude import ClaudeBackend

APIS = ("anthropic", "openai")
EDIT = Say(
    "a small change", tools=(("edit_file", {"path": "main.py", "old": "import os", "new": "import os, sys"}),)
)
DECIDE = Say(tools=(("decide", {"lever": "harness", "reason": "s2 and s3 fail to parse."}),))


class Desk:
    """An agent on the local server, what it waited, and what was recorded."""

    def __init__(self, api: str, provider: FakeProvider) -> None:
        self.api = api
        self.provider = provider
        self.waits: list[float] = []
        self.records: list[AgentCallRecord] = []
        self.profile = Profile("p", "local", "model-x", max_tokens=1000, max_turns=8)

    def backend(self) -> ClaudeBackend | OpenAIBackend:
        # Its SDK takes seconds to import, which whoever collects the tests would pay.
        from loop.agents.backends.claude import ClaudeBackend

        suffix = "" if self.api == "anthropic" else "/v1"
        server = Provider("local", self.api, self.provider.base_url + suffix)
        info = ModelInfo(200_000, Prices(3.0, 15.0, cache_read=0.3, cache_write=3.75))
        access = Access(self.profile, server, info, "sk-test")
        pace = Pace(self.waits.append)
        return ClaudeBackend(access, pace) if self.api == "anthropic" else OpenAIBackend(access, pace)

    def decide(self, *steps: Step, **changes: Any) -> Decision:
        self.provider.plan(*steps)
        return decide(self.backend(), evidence(**changes), self.records.append)

    def tool_texts(self) -> list[tuple[str, bool]]:
        """Results that the model was given in the last request: (text, is an error as far as told)."""
        messages = self.provider.seen[-1].body["messages"]
        if self.api == "openai":
            return [(message["content"], False) for message in messages if message["role"] == "tool"]
        return [
            (block["content"], block["is_error"])
            for message in messages
            if message["role"] == "user"
            for block in message["content"]
            if block["type"] == "tool_result"
        ]


@pytest.fixture(params=APIS)
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    with fake_provider() as provider:
        yield Desk(request.param, provider)


@contextmanager
def claude() -> Iterator[Desk]:
    with fake_provider() as provider:
        yield Desk("anthropic", provider)


def test_an_agent_reads_edits_and_decides(desk: Desk) -> None:
    look = Say(tools=(("list_files", {}), ("read_file", {"path": "main.py"})))
    decision = desk.decide(look, EDIT, DECIDE)
    assert decision.lever is Lever.HARNESS and decision.reason == "s2 and s3 fail to parse."
    assert decision.files == {"main.py": MAIN.replace("import os", "import os, sys")}
    texts = [text for text, _ in desk.tool_texts()]
    assert texts[0].startswith("main.py (") and texts[1] == MAIN and "bytes now" in texts[2]
    assert len(desk.provider.seen) == 3 and desk.waits == []


def test_every_exchange_is_recorded_with_tokens_and_cost(desk: Desk) -> None:
    look = Say(tools=(("list_files", {}),), tokens=(100, 20), cached=(40, 0))
    desk.decide(look, EDIT, DECIDE)
    first, second, third = desk.records
    fresh = 100 if desk.api == "anthropic" else 60
    assert (first.role, first.model, first.error) == ("feedback", "model-x", "")
    assert (first.prompt_tokens, first.completion_tokens, first.cached_tokens) == (fresh + 40, 20, 40)
    assert first.cost_usd == pytest.approx((fresh * 3 + 40 * 0.3 + 20 * 15) / 1e6)
    assert first.reply is not None and "list_files" in json.dumps(dict(first.reply))
    assert "Meta" not in json.dumps(dict(first.request)) and "Digits" in json.dumps(dict(first.request))
    assert len(second.request["messages"]) == 2 and len(third.request["messages"]) == 2
    assert "tools" in first.request and "tools" not in second.request
    json.dumps([dict(record.request) for record in desk.records])


def test_the_meta_agent_writes_the_first_harness(desk: Desk) -> None:
    desk.provider.plan(EDIT, DECIDE)
    decision = first_harness(desk.backend(), evidence(score_before=None), desk.records.append)
    assert set(decision.files) == {"main.py"} and {record.role for record in desk.records} == {"meta"}
    assert "You are the Meta-Agent" in json.dumps(desk.provider.seen[0].body)


def test_faults_are_retried_with_growing_waits_and_recorded(desk: Desk) -> None:
    faults = (Fault(429, headers={"retry-after": "17"}), Fault(500), Fault(529), Drop(), Drop(mid_body=True))
    decision = desk.decide(*faults, EDIT, DECIDE)
    assert decision.lever is Lever.HARNESS
    assert len(desk.waits) == 5 and desk.waits[0] == 17 and all(1 <= wait <= 60 for wait in desk.waits)
    assert [bool(record.error) for record in desk.records] == [True] * 5 + [False, False]
    assert "429" in desk.records[0].error and "529" in desk.records[2].error
    assert desk.records[0].reply is None and desk.records[0].cost_usd == 0


def test_an_attempt_that_broke_off_is_charged_at_its_reserve(desk: Desk) -> None:
    broken = (Drop(), Drop(mid_body=True), Fault(200, raw=b"<html>"))
    desk.decide(*broken, EDIT, DECIDE)
    for record in desk.records[:3]:
        assert (record.reply, record.completion_tokens) == (None, 1000)
        assert record.prompt_tokens > 300 and "charged at its reserve" in record.error
        assert record.cost_usd == pytest.approx((record.prompt_tokens * 3 + 1000 * 15) / 1e6)
    assert desk.records[3].completion_tokens == 5


def test_broken_attempts_spend_the_budget(desk: Desk) -> None:
    desk.provider.default = Drop(mid_body=True)
    with pytest.raises(BudgetSpent):
        desk.decide(budget=Remaining(3, cost_usd=0.05))
    assert 1 < len(desk.records) < MAX_ATTEMPTS


def test_an_attempt_that_never_reached_the_provider_costs_nothing() -> None:
    with claude() as desk:
        desk.provider.base_url = "http://127.0.0.1:9"
        with pytest.raises(ProviderError, match="connection failed"):
            desk.decide()
        assert {record.cost_usd for record in desk.records} == {0.0}


def test_waits_grow_exponentially(desk: Desk) -> None:
    desk.provider.default = Fault(503)
    with pytest.raises(ProviderError, match="503"):
        desk.decide()
    assert len(desk.waits) == MAX_ATTEMPTS - 1
    assert all(2**n / 2 <= wait <= 2**n for n, wait in enumerate(desk.waits, 1))


@pytest.mark.parametrize("raw", [b"<html>busy</html>", b"{", b"[]", b"{}", b'"text"'])
def test_an_answer_that_is_not_one_is_retried(desk: Desk, raw: bytes) -> None:
    desk.decide(Fault(200, raw=raw), EDIT, DECIDE)
    assert len(desk.waits) == 1 and desk.records[0].error


def test_an_html_page_with_status_200_is_retried(desk: Desk) -> None:
    desk.decide(Fault(200, raw=b"<html>", headers={"Content-Type": "text/html"}), EDIT, DECIDE)
    assert len(desk.waits) == 1


@pytest.mark.parametrize(
    ("status", "words"), [(401, "check it"), (403, "check it"), (400, "too big"), (404, "404")]
)
def test_an_error_that_will_not_go_away_is_not_retried(desk: Desk, status: int, words: str) -> None:
    with pytest.raises(ProviderError, match=words):
        desk.decide(Fault(status, message="too big"))
    assert desk.waits == [] and len(desk.records) == 1


def test_a_provider_that_asks_for_hours_is_given_up(desk: Desk) -> None:
    with pytest.raises(ProviderError, match="429"):
        desk.decide(Fault(429, headers={"retry-after": "7200"}))
    assert desk.waits == []


def test_a_refusal_is_named_as_one(desk: Desk) -> None:
    with pytest.raises(Refused, match="model-x declined"):
        desk.decide(Say("I will not", stop="refusal"))
    assert len(desk.records) == 1 and desk.records[0].error == ""


def test_a_model_that_only_talks_is_told_and_then_given_up(desk: Desk) -> None:
    desk.provider.default = Say("let me think about it")
    with pytest.raises(Refused, match="stopped using its tools 4 times"):
        desk.decide()
    assert "call decide" in json.dumps(desk.provider.seen[-1].body["messages"][-1])
    assert len(desk.records) == 4


def test_a_model_that_says_nothing_at_all_is_given_up(desk: Desk) -> None:
    desk.provider.default = Say("")
    with pytest.raises(Refused):
        desk.decide()


def test_a_model_that_never_decides_is_stopped_after_its_turns(desk: Desk) -> None:
    desk.provider.default = Say(tools=(("list_files", {}),))
    with pytest.raises(Refused, match="within 8 turns"):
        desk.decide()
    assert len(desk.records) == 8


def test_a_decision_for_the_harness_without_an_edit_is_sent_back(desk: Desk) -> None:
    desk.decide(DECIDE, EDIT, DECIDE)
    assert "you decided for the harness but changed no file" in desk.tool_texts()[0][0].lower()


def test_an_agent_that_writes_nothing_is_a_clear_error(desk: Desk) -> None:
    desk.provider.default = DECIDE
    with pytest.raises(Refused, match="did not decide"):
        desk.decide()


MISUSES: list[tuple[str, dict[str, Any], str]] = [
    ("read_file", {"path": "../../etc/passwd"}, "leaves the harness tree"),
    ("read_file", {"path": "/etc/passwd"}, "leaves the harness tree"),
    ("read_file", {"path": "absent.py"}, "does not exist"),
    ("write_file", {"path": "../evil.py", "text": "x"}, "leaves the harness tree"),
    ("write_file", {"path": ".git/hooks/x", "text": "x"}, "leaves the harness tree"),
    ("write_file", {"path": "big.txt", "text": "x" * 300_000}, "may have"),
    ("write_file", {"path": "a.bin", "text": "a\u0000b"}, "NUL"),
    ("write_file", {"path": "a.py", "text": "def"}, "not valid Python"),
    ("edit_file", {"path": "main.py", "old": "o", "new": "x"}, "exactly once"),
    ("edit_file", {"path": "main.py", "old": "absent", "new": "x"}, "occurs 0 times"),
    ("edit_file", {"path": "main.py", "old": "", "new": "x"}, "occurs 0 times"),
    ("edit_file", {"path": "main.py"}, "needs old, new"),
    ("delete_file", {"path": "nothing"}, "does not exist"),
    ("list_files", {"folder": "/"}, "does not take folder"),
    ("read_file", {"path": 3}, "must be a string"),
    ("run_shell", {"cmd": "id"}, "no tool"),
    ("decide", {"lever": "everything", "reason": "x"}, "must be one of"),
    ("decide", {"lever": "stop", "reason": "  "}, "needs a reason"),
]


def test_misuse_of_a_tool_is_answered_with_a_sentence(desk: Desk) -> None:
    misuse = Say(tools=tuple((name, arguments) for name, arguments, _ in MISUSES))
    stop = Say(tools=(("decide", {"lever": "stop", "reason": "enough"}),))
    assert desk.decide(misuse, stop).lever is Lever.STOP
    answers = desk.tool_texts()
    assert len(answers) == len(MISUSES)
    for (name, arguments, words), (text, told) in zip(MISUSES, answers, strict=True):
        assert words in text, (name, arguments, text)
        assert told or desk.api == "openai"


def test_arguments_that_are_not_json_are_answered_with_a_sentence() -> None:
    with fake_provider() as provider:
        desk = Desk("openai", provider)
        function = {"name": "read_file", "arguments": "{path: main.py"}
        message = {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": function}]}
        raw = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [
            {"index": 0, "finish_reason": "tool_calls", "message": message}]}  # fmt: skip
        desk.decide(Fault(200, raw=json.dumps(raw).encode()), EDIT, DECIDE)
        assert "not a JSON object" in desk.tool_texts()[0][0]
        assert desk.records[0].prompt_tokens == 0


def test_an_edit_that_breaks_the_harness_is_sent_back(desk: Desk) -> None:
    gone = Say(tools=(("delete_file", {"path": "main.py"}),))
    back = Say(tools=(("write_file", {"path": "main.py", "text": "print('new')\n"}),))
    decision = desk.decide(gone, DECIDE, back, DECIDE)
    assert decision.files == {"main.py": "print('new')\n"}
    assert "no main.py" in desk.tool_texts()[1][0]


def test_weights_that_cannot_teach_are_sent_back_with_the_numbers(desk: Desk) -> None:
    weights = Say(tools=(("decide", {"lever": "weights", "reason": "train", "algorithm": "grpo"}),))
    flat = Landscape(p=0.5, z=0.95, prompts=60, samples_per_prompt=8)
    assert desk.decide(weights, EDIT, DECIDE, landscape=flat).lever is Lever.HARNESS
    assert "z=0.950" in desk.tool_texts()[0][0]


def test_weights_with_an_algorithm_drop_the_edits(desk: Desk) -> None:
    choice = {"lever": "weights", "reason": "wrong judgement", "algorithm": "grpo", "hyper": {"lr": 1e-3}}
    decision = desk.decide(EDIT, Say(tools=(("decide", choice),)))
    assert (decision.lever, decision.algorithm, decision.hyper["lr"]) == (Lever.WEIGHTS, "grpo", 1e-3)
    assert decision.files == {}


def test_calls_after_the_decision_are_not_carried_out(desk: Desk) -> None:
    both = Say(tools=(*DECIDE.tools, ("decide", {"lever": "stop", "reason": "on second thoughts"})))
    decision = desk.decide(EDIT, both)
    assert decision.lever is Lever.HARNESS and set(decision.files) == {"main.py"}


def test_a_cut_off_answer_is_not_carried_out(desk: Desk) -> None:
    stop = "max_tokens" if desk.api == "anthropic" else "length"
    cut = Say(tools=(("write_file", {"path": "main.py", "text": "half"}),), stop=stop)
    decision = desk.decide(cut, EDIT, DECIDE)
    assert decision.files == {"main.py": MAIN.replace("import os", "import os, sys")}
    assert "cut off" in desk.tool_texts()[0][0]


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (Remaining(3, cost_usd=0.001), "0.0010 are left"),
        (Remaining(3, tokens=500), "budget of 500"),
        (Remaining(3, wall_s=-1.0), "time budget"),
    ],
)
def test_a_spent_budget_ends_the_work_before_the_call(desk: Desk, budget: Remaining, words: str) -> None:
    with pytest.raises(BudgetSpent, match=words):
        desk.decide(budget=budget)
    assert desk.provider.seen == []


def test_a_budget_that_runs_out_between_calls_ends_the_work(desk: Desk) -> None:
    desk.provider.default = Say(tools=(("list_files", {}),), tokens=(10_000, 1000))
    with pytest.raises(BudgetSpent):
        desk.decide(budget=Remaining(3, cost_usd=0.15))
    spent = sum(record.cost_usd for record in desk.records)
    assert 0 < spent <= 0.15


def test_a_conversation_larger_than_the_context_is_an_error_of_the_provider(desk: Desk) -> None:
    desk.profile = replace(desk.profile, max_tokens=199_000)
    with pytest.raises(ProviderError, match="context"):
        desk.decide()


def test_claude_marks_tools_system_evidence_and_the_newest_message_for_the_cache() -> None:
    with claude() as desk:
        desk.decide(Say(tools=(("list_files", {}),)), EDIT, DECIDE)
        for seen in desk.provider.seen:
            marks = json.dumps(seen.body).count("cache_control")
            messages = seen.body["messages"]
            assert marks == (3 if len(messages) == 1 else 4)
            assert "cache_control" in seen.body["tools"][-1] and "cache_control" in seen.body["system"][0]
            assert (
                "cache_control" in messages[0]["content"][-1]
                and "cache_control" in messages[-1]["content"][-1]
            )
        assert (
            "temperature" not in desk.provider.seen[0].body
            and "tool_choice" not in desk.provider.seen[0].body
        )


def test_a_temperature_is_sent_only_when_the_profile_has_one(desk: Desk) -> None:
    desk.profile = replace(desk.profile, temperature=0.2)
    desk.decide(EDIT, DECIDE)
    assert desk.provider.seen[0].body["temperature"] == 0.2


def test_the_key_goes_to_the_provider_and_is_kept_nowhere(desk: Desk) -> None:
    desk.decide(EDIT, DECIDE)
    headers = desk.provider.seen[0].headers
    assert "sk-test" in (headers.get("x-api-key", "") + headers.get("authorization", ""))
    assert "sk-test" not in repr(desk.records) + repr(desk.backend())


def test_only_public_evidence_can_be_given() -> None:
    names = set(Evidence.__dataclass_fields__)
    assert not {name for name in names if "hidden" in name or "label" in name}


def test_weights_without_an_algorithm_take_the_routers_with_the_agents_own_settings(desk: Desk) -> None:
    choice = {"lever": "weights", "reason": "wrong judgement", "hyper": {"steps": 7}}
    decision = desk.decide(Say(tools=(("decide", choice),)))
    assert (decision.algorithm, decision.hyper["steps"], decision.hyper["lora_r"]) == ("grpo", 7, 16)


def test_what_the_task_and_the_harness_fix_is_above_what_an_agent_asks_for(desk: Desk) -> None:
    choice = {
        "lever": "weights",
        "reason": "wrong judgement",
        "algorithm": "rloo",
        "hyper": {"steps": 7, "lr": 1e-3},
    }
    training = RouterFacts(train_prompts=400, fixed={"steps": 20, "max_completion": 8})
    decision = desk.decide(Say(tools=(("decide", choice),)), training=training)
    assert (decision.hyper["steps"], decision.hyper["max_completion"], decision.hyper["lr"]) == (20, 8, 1e-3)
    assert decision.hyper["beta"] == 0.05
