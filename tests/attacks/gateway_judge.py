"""Runs hostile harnesses against a real gateway and judges by what the provider received, cost and record.

The provider is a local server that speaks the protocol and remembers every request. `passed_on` sends the same
programs to it directly, as a gateway that passes everything on would.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loop.catalog import load_task
from loop.gateway import GatewayLimits, GatewaySession, Upstream
from loop.prices import Prices
from loop.rollout import RolloutReport, RolloutRequest, run_rollout
from loop.runtimes import ensure_runtime
from loop.scoring import Evaluation
from tests.attacks.catalogue import HARNESSES, Attack
from tests.attacks.gateway_client import LAST, MARK
from tests.attacks.judge import Verdict
from tests.loop.fake_providers import FakeProvider, Fault, Say, Seen, Step, fake_provider
from tests.loop.tiny_task import IDS, TASK_TOML, write_task, write_tree

HERE = Path(__file__).parent
KEY = "sk-this-must-never-be-seen"
HONEST_SCORE = 0.75
QUOTED = 60
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


def judge_gateway(attack: Attack, worker: str) -> Verdict:
    """The verdict on one attack on the gateway."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pawl-arena-") as folder:
        trial = attempt(attack.name, Path(folder))
    report, found = trial.report, tuple(problems(attack, trial))
    seconds = time.monotonic() - began
    peak = report.usage.peak_mib
    return Verdict(attack, worker, report.outcome.value, found, seconds, peak, report.log_tail)


def problems(attack: Attack, trial: Trial) -> Iterator[str]:
    """What is wrong with a trial, one sentence each; nothing where the attack was contained."""
    report, seen, usage = trial.report, trial.seen, trial.report.usage
    if report.outcome not in attack.outcomes:
        yield f"Its outcome is {report.outcome.value} ({report.reason})."
    if report.score is None or report.score.value != HONEST_SCORE:
        yield f"Its score is {report.score}, not the honest {HONEST_SCORE}."
    if passed := violations(seen):
        yield f"The provider received: {', '.join(passed)}."
    if "BREACH" in report.log_tail or KEY in report.log_tail:
        yield "Its log says that it succeeded, or holds the key."
    if attack.name not in SPENT and not any(LAST in json.dumps(request.body) for request in seen):
        yield "The gateway did not work any more afterwards."
    if usage.model_calls > CALLS or len(seen) > CALLS or usage.cost_usd > COST_USD + 1e-9:
        yield f"It made {len(seen)} calls for {usage.cost_usd} dollars."
    if len(report.calls) != usage.model_calls:
        yield f"{usage.model_calls} calls were counted and {len(report.calls)} recorded."
    if not math.isclose(usage.cost_usd, sum(call.cost_usd for call in report.calls), abs_tol=1e-9):
        yield "The recorded calls do not add up to its cost."
    kept = json.dumps([asdict(call) for call in report.calls], allow_nan=False)
    if KEY in kept or "\\u0000" in kept or len(kept) >= 2 * RECORDED:
        yield "The record of its calls holds the key or a NUL, or is too long."


def harness_of(name: str, folder: Path) -> Path:
    """A copy of one attack with what is put beside it."""
    target = folder / "harness"
    shutil.copytree(HARNESSES / name, target)
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


def passed_on(name: str, folder: Path) -> list[str]:
    """What reaches the provider when the attack's calls are passed on as they are; the plain ones do no harm."""
    write_tree(folder, {"in/inputs.jsonl": '{"id": "a", "x": 0}\n', "out/.keep": ""})
    with fake_provider() as provider:
        env = {
            "HARNESS_IN": str(folder / "in"),
            "HARNESS_OUT": str(folder / "out"),
            "OPENAI_BASE_URL": f"{provider.base_url}/v1",
            "PATH": os.environ["PATH"],
        }
        main = harness_of(name, folder) / "main.py"
        subprocess.run([sys.executable, "-I", main], env=env, capture_output=True, timeout=60, check=True)
    plain = {"path /v1/messages", "model task-model n None", "max_tokens None"}
    usual = [request for request in provider.seen if set(request.headers) <= HEADERS]
    plain |= {f"headers {sorted(request.headers)}" for request in usual}
    return sorted({ascii(found)[1:-1][:QUOTED] for found in set(violations(provider.seen)) - plain})
