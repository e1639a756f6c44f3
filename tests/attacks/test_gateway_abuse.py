"""Hostile harnesses against a real gateway, judged by what the provider received, what it cost and what was recorded.

The provider is a local server that speaks the protocol and remembers every request. The control at the end sends the
same programs to it directly, as a gateway that passes everything on would: there the judge must find violations.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from loop.catalog import load_task
from loop.gateway import GatewayLimits, GatewaySession, Upstream
from loop.prices import Prices
from loop.rollout import RolloutReport, RolloutRequest, run_rollout
from loop.runtimes import ensure_runtime
from loop.scoring import Evaluation
from loop.types import Outcome
from tests.attacks.gateway_client import LAST, MARK
from tests.loop.fake_providers import FakeProvider, Fault, Say, Seen, Step, fake_provider
from tests.loop.tiny_task import IDS, TASK_TOML, write_task, write_tree

HERE = Path(__file__).parent
NAMES = sorted(path.name for path in (HERE / "harnesses").glob("gateway_*"))
KEY = "sk-this-must-never-be-seen"
HONEST_SCORE = 0.75
COMPLETION, CALLS, COST_USD, RECORDED = 10, 90, 0.305, 3 << 20
PRICES = Prices(input=0.0, output=1000.0)  # an answer of 10 tokens costs one cent
# These end with their budget spent (or, the echo, with a provider that only fails): no last honest call.
SPENT = {
    "gateway_budget_race",
    "gateway_call_cap",
    "gateway_trajectory_flood",
    "gateway_key_echo",
    "gateway_outage_fraud",
}
MODEL_TOML = TASK_TOML + f'\n[model]\nbase = "base"\nmax_tokens = {COMPLETION}\n'
HEADERS = {"host", "accept-encoding", "content-length", "content-type", "accept", "authorization"}
FIELDS = {
    "model", "messages", "max_tokens", "seed", "temperature", "top_p", "stop", "tools", "tool_choice",
    "response_format",
}  # fmt: skip


@dataclass
class Trial:
    """One attack carried out: the report, what the provider saw, and what the session charged."""

    report: RolloutReport
    seen: list[Seen]
    sessions: list[GatewaySession] = field(default_factory=list)


def harness_of(name: str, folder: Path) -> Path:
    """A copy of one attack with what is put beside it."""
    target = folder / "harness"
    shutil.copytree(HERE / "harnesses" / name, target)
    for helper in ("honest.py", "gateway_client.py"):
        shutil.copyfile(HERE / helper, target / helper)
    (target / "targets.json").write_text("{}")
    return target


def answers(name: str, provider: FakeProvider) -> None:
    """What the provider says: one token, or errors that repeat the key that they were sent."""
    if name == "gateway_key_echo":
        said = (f"Incorrect key Bearer {KEY}", f"{KEY[:9]}...{KEY}", f'"{KEY}" may not do this')
        provider.plan(*(Fault(400, message=text) for text in said), Say(f"my key is {KEY}", tokens=(1, 10)))
        provider.default = Fault(422, message=f"headers: authorization: Bearer {KEY}")
        return

    def reply(body: dict[str, Any]) -> Step:
        slow = name == "gateway_outage_fraud" and "slowly" in json.dumps(body)
        return Say("ok", tokens=(1, int(body["max_tokens"])), delay_s=2.0 if slow else 0.0)

    provider.default = reply


def attempt(name: str, folder: Path) -> Trial:
    """One rollout of an attack behind a real gateway."""
    task = load_task(write_task(folder / "task", toml=MODEL_TOML))
    workdir = folder / "work"
    workdir.mkdir()
    runtime = ensure_runtime(None, folder / "runtimes")
    inputs = task.inputs("public-val")
    sessions: list[GatewaySession] = []
    with fake_provider() as provider:
        answers(name, provider)
        report = run_rollout(
            RolloutRequest(
                task=task,
                harness=harness_of(name, folder),
                inputs=inputs,
                runtime=runtime,
                workdir=workdir,
                seed=3,
                evaluation=Evaluation(task.evaluator, task.labels("public-val"), IDS, task, runtime),
                upstream=Upstream(provider.base_url, "base", api_key=KEY, prices=PRICES),
                gateway_limits=GatewayLimits(
                    max_calls=CALLS,
                    max_cost_usd=COST_USD,
                    max_completion_tokens=COMPLETION,
                    max_body_bytes=1 << 20,
                    max_recorded_bytes=RECORDED,
                    deadline_s=5.0,
                ),
                on_session=sessions.append,
            )
        )
    return Trial(report, provider.seen, sessions)


def violations(seen: list[Seen]) -> list[str]:
    """Everything that reached the provider and had no business there."""
    found = []
    for request in seen:
        body = request.body
        if request.path != "/v1/chat/completions":
            found.append(f"path {request.path}")
        if MARK in json.dumps([request.path, request.headers, body]):
            found.append("the mark")
        if set(request.headers) - HEADERS or request.headers.get("authorization") != f"Bearer {KEY}":
            found.append(f"headers {sorted(request.headers)}")
        if set(body) - FIELDS:
            found.append(f"fields {sorted(set(body) - FIELDS)}")
        if body.get("model") != "base" or body.get("n", 1) != 1:
            found.append(f"model {body.get('model')} n {body.get('n')}")
        if not isinstance(body.get("max_tokens"), int) or not 0 < body["max_tokens"] <= COMPLETION:
            found.append(f"max_tokens {body.get('max_tokens')}")
        if not all(isinstance(each.get("content"), str | None) for each in body.get("messages", [])):
            found.append("content that is not text")
        if any(
            tool.get("type") != "function" or set(tool) - {"type", "function"}
            for tool in body.get("tools", [])
        ):
            found.append("a tool of the provider's")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_an_abuse_of_the_gateway_is_contained(name: str, tmp_path: Path) -> None:
    trial = attempt(name, tmp_path)
    report, seen = trial.report, trial.seen
    assert report.outcome is Outcome.OK, (report.reason, report.log_tail[-2000:])
    assert report.score is not None and report.score.value == HONEST_SCORE
    assert violations(seen) == []
    assert "BREACH" not in report.log_tail and KEY not in report.log_tail
    assert (name in SPENT) or any(LAST in json.dumps(request.body) for request in seen), report.log_tail[
        -2000:
    ]
    usage = report.usage
    assert usage.model_calls <= CALLS and len(seen) <= CALLS
    assert usage.cost_usd <= COST_USD + 1e-9 and len(report.calls) == usage.model_calls
    kept = json.dumps([asdict(call) for call in report.calls], allow_nan=False)
    assert KEY not in kept and "\\u0000" not in kept and len(kept) < 2 * RECORDED
    assert usage.cost_usd == pytest.approx(sum(call.cost_usd for call in report.calls))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gateway")]


def test_a_race_for_the_budget_spends_all_of_it_and_no_more(tmp_path: Path) -> None:
    trial = attempt("gateway_budget_race", tmp_path)
    assert trial.report.usage.cost_usd == pytest.approx(0.3) and len(trial.seen) == 30


def test_a_harness_that_leaves_with_a_call_in_flight_is_scored_and_charged(tmp_path: Path) -> None:
    trial = attempt("gateway_outage_fraud", tmp_path)
    cut = [call for call in trial.report.calls if call.status == 499]
    assert cut and all(call.reserved_tokens > 0 and call.cost_usd > 0 for call in cut if call.attempts)


# --- the control: passed on as they are, the same programs do what they want ---

PASSED_ON = [
    "gateway_provider_tools", "gateway_mcp", "gateway_image_url", "gateway_file_ids", "gateway_unknown_fields",
    "gateway_many_samples", "gateway_huge_completion", "gateway_other_models", "gateway_paths", "gateway_schema_refs",
    "gateway_header_injection",
]  # fmt: skip


@pytest.mark.parametrize("name", PASSED_ON)
def test_without_the_gateway_the_same_abuse_reaches_the_provider(name: str, tmp_path: Path) -> None:
    write_tree(tmp_path, {"in/inputs.jsonl": '{"id": "a", "x": 0}\n', "out/.keep": ""})
    with fake_provider() as provider:
        env = {
            "HARNESS_IN": str(tmp_path / "in"),
            "HARNESS_OUT": str(tmp_path / "out"),
            "OPENAI_BASE_URL": f"{provider.base_url}/v1",
            "PATH": os.environ["PATH"],
        }
        main = harness_of(name, tmp_path) / "main.py"
        done = subprocess.run(
            [sys.executable, "-I", main], env=env, capture_output=True, timeout=60, check=False
        )
    assert done.returncode == 0, done.stderr.decode()
    assert set(violations(provider.seen)) - {f"headers {sorted(HEADERS)}"}
