"""Rollouts end to end: the harness's contract, the model through the relay, outcomes, and the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from loop.catalog import load_task
from loop.errors import Outage
from loop.gateway import GatewayLimits, Upstream
from loop.harness_tree import LIMITS
from loop.management.commands.rollout import Command
from loop.prices import Prices
from loop.rollout import RolloutReport, RolloutRequest, run_rollout
from loop.runtimes import ensure_runtime
from loop.sandbox import chosen_name
from loop.sandbox.fake import FakeBackend, FakeRun
from loop.scoring import Evaluation
from loop.types import Outcome
from tests.loop.fake_providers import Fault, Say, fake_provider
from tests.loop.tiny_task import IDS, SEED, TASK_TOML, write_task, write_tree

REPO = Path(__file__).resolve().parents[2]
KEYS = {"outcome", "reason", "score", "metrics", "items", "log_tail", "usage", "outputs", "sandbox"}
USAGE_KEYS = {"wall_s", "cpu_s", "peak_mib", "processes", "model_calls", "tokens", "cost_usd"}


@pytest.fixture
def roll(tmp_path: Path) -> Callable[..., RolloutReport]:
    """Runs a harness, given as its main.py, on the tiny task."""

    def run(source: str | None, backend: FakeBackend | None = None, **changes: Any) -> RolloutReport:
        task = load_task(write_task(tmp_path / "task"))
        harness, workdir = tmp_path / "harness", tmp_path / "work"
        harness.mkdir(exist_ok=True)
        workdir.mkdir(exist_ok=True)
        if source is not None:
            (harness / "main.py").write_text(source)
        inputs, runtime = task.inputs("public-val"), ensure_runtime(None, tmp_path / "runtimes")
        evaluation = Evaluation(task.evaluator, task.labels("public-val"), IDS, task, runtime)
        chosen: dict[str, Any] = {"seed": 7, "evaluation": evaluation} | changes
        return run_rollout(RolloutRequest(task, harness, inputs, runtime, workdir, **chosen), backend)

    return run


Roller = Callable[..., RolloutReport]


def test_an_honest_harness_is_scored(roll: Roller, tmp_path: Path) -> None:
    report = roll(SEED)
    assert (report.outcome, report.reason) == (Outcome.OK, "")
    assert report.score is not None and report.score.value == 0.75
    assert report.probe.ok and report.probe.backend == chosen_name()
    told = report.to_json()["sandbox"]
    assert (told["backend"], told["ok"]) == (chosen_name(), True)
    assert {"kernel", "boundary", "worker", "memory", "seccomp"} <= told.keys()
    assert [file.name for file in report.outputs] == ["predictions.jsonl"]
    assert (tmp_path / "work" / "outputs" / "predictions.jsonl").stat().st_size == report.outputs[0].size


def test_the_harness_gets_its_contract_and_nothing_else(roll: Roller) -> None:
    report = roll(
        "import os, json, sys; print(json.dumps([dict(os.environ), sys.argv, os.getcwd(), os.listdir('/in')]))"
    )
    env, argv, folder, inputs = json.loads(report.log_tail)
    assert {name: env[name] for name in env if name.startswith("HARNESS_")} == {
        "HARNESS_IN": "/in",
        "HARNESS_OUT": "/out",
        "HARNESS_WORK": "/scratch",
        "HARNESS_SEED": "7",
    }
    assert not [name for name in env if "KEY" in name or "URL" in name]
    assert (argv, folder, inputs) == (["/harness/main.py"], "/scratch", ["inputs.jsonl"])


def test_a_harness_that_writes_nothing_is_rejected_and_not_zero(roll: Roller) -> None:
    report = roll("print('accuracy: 99.9%')")
    assert report.outcome is Outcome.OUTPUT_REJECTED
    assert report.score is None
    assert "predictions.jsonl is missing" in report.reason


def test_a_crash_after_right_answers_is_a_failure_without_a_score(roll: Roller) -> None:
    report = roll(SEED + "\nraise SystemExit(3)\n")
    assert (report.outcome, report.score) == (Outcome.HARNESS_FAILED, None)


def test_without_an_evaluation_there_is_no_score(roll: Roller) -> None:
    report = roll(SEED, evaluation=None)
    assert (report.outcome, report.score) == (Outcome.OK, None)


def test_a_failed_evaluator_is_told_apart_and_gives_no_score(roll: Roller, tmp_path: Path) -> None:
    task = load_task(write_task(tmp_path / "other", "def evaluate(o, l):\n    raise ValueError('broken')\n"))
    runtime = ensure_runtime(None, tmp_path / "runtimes")
    evaluation = Evaluation(task.evaluator, task.labels("public-val"), IDS, task, runtime)
    report = roll(SEED, evaluation=evaluation)
    assert (report.outcome, report.score) == (Outcome.OK, None)
    assert "It raised ValueError." in report.evaluator_error
    assert "ValueError: broken" in report.evaluator_log
    assert report.reason == report.evaluator_error


def test_a_harness_without_main_py_fails_and_says_so(roll: Roller) -> None:
    report = roll(None)
    assert report.outcome is Outcome.HARNESS_FAILED
    assert "no main.py" in report.reason


def test_a_harness_with_a_linked_main_py_or_a_fifo_fails(roll: Roller, tmp_path: Path) -> None:
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "main.py").symlink_to("/etc/passwd")
    assert "no main.py" in roll(None).reason
    (tmp_path / "harness" / "main.py").unlink()
    os.mkfifo(tmp_path / "harness" / "pipe")
    assert "neither a file" in roll(SEED).reason


def test_a_harness_of_too_many_files_fails(roll: Roller, tmp_path: Path) -> None:
    write_tree(tmp_path / "harness", {f"f{index}": "" for index in range(LIMITS.files)})
    assert f"may have {LIMITS.files} files" in roll(SEED).reason


def test_a_sandbox_that_breaks_is_an_outage_and_not_a_result(roll: Roller) -> None:
    report = roll(SEED, FakeBackend({}))
    assert (report.outcome, report.score) == (Outcome.SANDBOX_ERROR, None)


def test_a_fake_sandbox_can_stand_in_for_both_programs(roll: Roller) -> None:
    def harness(run: FakeRun) -> int:
        run.write("predictions.jsonl", b"fake")
        return 0

    def evaluator(run: FakeRun) -> int:
        assert run.read("/outputs/predictions.jsonl") == b"fake"
        result = {"items": dict.fromkeys(IDS, 0.5), "metrics": {"accuracy": 0.5}}
        run.write("result.json", json.dumps({"result": result}).encode())
        return 0

    report = roll(SEED, FakeBackend({"/harness/main.py": harness, "/pawl/evaluator_shim.py": evaluator}))
    assert report.score is not None and report.score.value == 0.5


ASKING = """
import json, os, urllib.request

def ask(item):
    message = {"role": "user", "content": item}
    body = {"model": "task-model", "messages": [message], "max_tokens": 5, "metadata": {"item_id": item}}
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    headers = {"Content-Type": "application/json", "Authorization": "Bearer none"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)["choices"][0]["message"]["content"]

with open("/in/inputs.jsonl") as inputs, open("/out/predictions.jsonl", "w") as out:
    for row in map(json.loads, inputs):
        out.write(json.dumps({"id": row["id"], "answer": ask(row["id"])}) + "\\n")
"""


def test_the_task_model_answers_through_the_relay_and_every_call_is_recorded(roll: Roller) -> None:
    with fake_provider() as provider:
        provider.default = Say("1")
        report = roll(ASKING, upstream=Upstream(provider.base_url, "base"))
    assert report.outcome is Outcome.OK, report.log_tail
    assert report.score is not None and report.score.value == 0.25
    assert (report.usage.model_calls, len(report.calls)) == (4, 4)
    assert [call.item_id for call in report.calls] == list(IDS)
    assert report.usage.tokens == 60


def test_large_bodies_and_many_connections_pass_the_relay(roll: Roller) -> None:
    many = "from concurrent.futures import ThreadPoolExecutor\nlist(ThreadPoolExecutor(8).map(ask, 'abcdefgh'))\n"
    source = ASKING.replace('"content": item}', '"content": item * 400_000}').replace(
        "with open", f"{many}with open", 1
    )
    with fake_provider() as provider:
        provider.default = Say("1" * 30)
        report = roll(source, upstream=Upstream(provider.base_url, "base"))
    assert report.outcome is Outcome.OK, report.log_tail
    assert report.usage.model_calls == 12


def test_a_model_that_cannot_be_reached_voids_the_rollout(roll: Roller) -> None:
    with fake_provider() as provider:
        provider.plan(Say("1", tokens=(10, 5)))
        provider.default = Fault(503)
        limits = GatewayLimits(deadline_s=1.0)
        upstream = Upstream(provider.base_url, "base", prices=Prices(input=2.0, output=10.0))
        with pytest.raises(Outage, match="1 of 2 model calls failed") as outage:
            roll(ASKING, upstream=upstream, gateway_limits=limits)
        assert outage.value.tokens == 15 and outage.value.cost_usd == pytest.approx(70e-6)


def test_a_harness_that_fails_at_its_budget_failed_by_its_limit(roll: Roller) -> None:
    with fake_provider() as provider:
        report = roll(
            ASKING, upstream=Upstream(provider.base_url, "base"), gateway_limits=GatewayLimits(max_calls=2)
        )
    assert (report.outcome, report.score) == (Outcome.LIMIT, None)
    assert report.usage.model_calls == 2


# --- the command ---


@dataclass(frozen=True)
class Done:
    """What a command printed, and the sentence that it failed with ('' where it did not)."""

    stdout: str
    failure: str


@pytest.fixture
def command(tmp_path: Path, settings: Settings) -> Callable[..., Done]:
    """Runs the command with a data home of its own; touching the database would fail the test."""
    settings.PAWL_HOME = tmp_path / "home"

    def run(*arguments: str | Path) -> Done:
        out = StringIO()
        try:
            call_command("rollout", *map(str, arguments), stdout=out)
        except CommandError as error:
            return Done(out.getvalue(), str(error))
        return Done(out.getvalue(), "")

    return run


Commander = Callable[..., Done]


def test_the_command_prints_one_json_object_with_every_field(tmp_path: Path) -> None:
    task = write_task(tmp_path / "task")
    argv = [
        sys.executable,
        "manage.py",
        "rollout",
        "--task-dir",
        str(task),
        "--harness",
        str(task / "seed"),
        "--json",
    ]
    env = os.environ | {"PAWL_HOME": str(tmp_path / "home"), "DJANGO_SETTINGS_MODULE": "deploy.settings"}
    done = subprocess.run(argv, cwd=REPO, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    printed = json.loads(done.stdout)
    assert printed.keys() == KEYS
    assert printed["usage"].keys() == USAGE_KEYS
    assert (printed["outcome"], printed["score"], printed["metrics"]) == ("ok", 0.75, {"accuracy": 0.75})
    assert printed["outputs"][0].keys() == {"name", "size", "sha256"}
    assert printed["usage"]["model_calls"] == 0 and printed["usage"]["wall_s"] > 0


def test_a_command_that_fails_prints_no_traceback(tmp_path: Path) -> None:
    argv = [sys.executable, "manage.py", "rollout", "--task-dir", str(tmp_path), "--harness", str(tmp_path)]
    env = os.environ | {"PAWL_HOME": str(tmp_path / "home"), "DJANGO_SETTINGS_MODULE": "deploy.settings"}
    done = subprocess.run(argv, cwd=REPO, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert done.stdout == ""
    assert "has no task.toml" in done.stderr and "Traceback" not in done.stderr


def test_a_failed_harness_is_still_a_rollout_that_was_carried_out(command: Commander, tmp_path: Path) -> None:
    task = write_task(tmp_path / "task")
    harness = write_tree(tmp_path / "harness", {"main.py": "raise SystemExit('boom')"})
    done = command("--task-dir", task, "--harness", harness, "--json")
    printed = json.loads(done.stdout)
    assert done.failure == ""
    assert (printed["outcome"], printed["score"], printed["items"]) == ("harness_failed", None, {})
    assert "boom" in printed["log_tail"]
    assert "boom" in command("--task-dir", task, "--harness", harness).stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--task-dir", "TASK", "--harness", "/nowhere"], "The harness folder /nowhere does not exist."),
        (["--task-dir", "/nowhere", "--harness", "TASK/seed"], "has no task.toml"),
        (["--harness", "TASK/seed"], "one of the two"),
        (["no-such-task", "--harness", "TASK/seed"], "has no task.toml"),
        (["--task-dir", "TASK", "--harness", "TASK/seed", "--split", "public-train"], "is missing"),
        (["--task-dir", "TASK", "--harness", "TASK/seed", "--model", "x"], "belong together"),
        (
            ["--task-dir", "TASK", "--harness", "TASK/seed", "--model", "x", "--model-url", "http://x"],
            "has no model",
        ),
    ],
)
def test_what_cannot_be_carried_out_is_one_sentence_and_a_failing_status(
    command: Commander, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    task = write_task(tmp_path / "task")
    done = command(*(text.replace("TASK", str(task)) for text in arguments), "--json")
    assert sentence in done.failure
    assert done.stdout == ""


def test_a_task_with_prepare_and_a_model_url_works_like_any_other(command: Commander, tmp_path: Path) -> None:
    made = write_task(tmp_path / "made")
    toml = TASK_TOML + '\n[model]\nbase = "tiny-base"\nmax_tokens = 8\n'
    task = write_tree(tmp_path / "task", {
        "task.toml": toml,
        "evaluator/evaluate.py": (made / "evaluator" / "evaluate.py").read_text(),
        "seed/main.py": ASKING,
        "prepare.py": "import shutil, sys\nfor name in ('public', 'labels'):\n"
        f"    shutil.copytree(f'{made}/{{name}}', f'{{sys.argv[2]}}/{{name}}')\n",
    })  # fmt: skip
    with fake_provider() as provider:
        provider.default = Say("1")
        done = command(
            "--task-dir", task, "--harness", task / "seed", "--model-url", provider.base_url, "--model", "m",
            "--price", "0", "0", "--json",
        )  # fmt: skip
    assert done.failure == ""
    printed = json.loads(done.stdout)
    assert (printed["outcome"], printed["score"], printed["usage"]["model_calls"]) == ("ok", 0.25, 4)


def test_help_has_an_example() -> None:
    parser = Command().create_parser("manage.py", "rollout")
    assert "manage.py rollout digits --harness tasks/digits/seed" in parser.format_help()
