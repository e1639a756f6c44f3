"""The source's own rules, and the tools that keep them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from deploy import source_rules
from deploy.home import REPO
from deploy.management.commands.test import Tally, read_report
from deploy.steps import Step, python, run_step


def test_a_long_file_and_a_long_function_are_both_named(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text("def f() -> None:\n" + "    pass\n" * 50 + "x = 1\n" * 350)
    found = source_rules.too_long(tmp_path)
    assert found[0].startswith("long.py has 401 lines")
    assert found[1].startswith("long.py:1 f has 51 lines")


def test_torch_outside_the_trainer_is_named(tmp_path: Path) -> None:
    for name in ("loop/training/trainer_losses.py", "loop/training/router.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("def f() -> None:\n    from torch import nn\n")
    found = source_rules.training_imports(tmp_path)
    assert len(found) == 1
    assert found[0].startswith("loop/training/router.py imports torch")


def test_the_service_starts_without_the_training_stack(service_env: dict[str, str]) -> None:
    stack = sorted(source_rules.TRAINING_STACK)
    code = (
        "import sys, django; django.setup()\n"
        "import deploy.urls, loop.jobs\n"
        f"print([name for name in {stack!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=service_env, cwd=REPO, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_a_failed_step_shows_its_output_and_the_remedy() -> None:
    lines: list[str] = []
    step = Step("types", python("-c", "print('bad line'); raise SystemExit(1)"), remedy="repair it")
    outcome = run_step(step, lines.append)
    assert not outcome.ok
    assert lines[0].startswith("FAIL  types")
    assert lines[1:] == ["bad line", "-> repair it"]


def test_a_passing_step_is_one_line() -> None:
    lines: list[str] = []
    assert run_step(Step("sizes", check=list), lines.append).ok
    assert len(lines) == 1


def test_results_are_counted_from_the_report(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite tests="10" failures="1" errors="2" skipped="3"></testsuite></testsuites>'
    )
    assert read_report(report) == Tally(passed=4, failed=3, skipped=3)
    assert str(Tally(4, 3, 3)) == "4 passed, 3 failed, 3 skipped"


def test_a_run_without_a_report_is_a_failure(tmp_path: Path) -> None:
    assert read_report(tmp_path / "absent.xml") == Tally(failed=1)
