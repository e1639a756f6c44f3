"""`doctor`: what is there and what is missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from deploy import checks
from deploy.checks import Finding
from deploy.management.commands.doctor import table
from tests.conftest import Manage


def test_a_machine_that_can_run_the_tests_has_what_the_demo_needs(manage: Manage) -> None:
    done = manage("doctor", "--json", ANTHROPIC_API_KEY="sk-secret-value")
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"], report["missing"]) == (0, True, [])
    found = {check["name"]: check for check in report["checks"]}
    assert found["sandbox"]["ok"] and found["git"]["ok"] and found["redis"]["ok"]
    assert found["api keys"]["found"] == "ANTHROPIC_API_KEY"
    assert "sk-secret-value" not in done.stdout + done.stderr


def test_without_the_sandbox_the_report_fails_and_says_how_to_get_it(manage: Manage, tmp_path: Path) -> None:
    done = manage("doctor", "--json", PATH=str(tmp_path))
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert {"sandbox", "git", "redis"} <= set(report["missing"])
    sandbox = next(check for check in report["checks"] if check["name"] == "sandbox")
    assert sandbox["remedy"] == "apt-get install --no-install-recommends bubblewrap"


def test_the_text_marks_what_is_needed_and_what_is_optional() -> None:
    findings = [
        Finding("git", True, "/usr/bin/git", "versions", needed=True),
        Finding("redis", False, "not found", "the queue", "apt-get install redis-server", needed=True),
        Finding("gpu", False, "none", "large models", "optional"),
    ]
    lines = table(findings, ["redis"]).splitlines()
    assert lines[0].split() == ["ok", "git", "/usr/bin/git"]
    assert lines[2].split()[:2] == ["MISSING", "redis"]
    assert lines[3].strip() == "for the queue; apt-get install redis-server"
    assert lines[4].split()[:2] == ["-", "gpu"]
    assert lines[-1] == "Missing for the demo: redis."


def test_missing_packages_are_named_with_the_command_that_brings_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        checks.bootstrap, "requirements", lambda _name: ["django>=5", "no-such-package[x]>=1; a"]
    )
    finding = checks._extra("train", "the weights lever", needed=False)
    assert not finding.ok
    assert finding.found == "missing no-such-package"
    assert finding.remedy == "python3 manage.py setup --extra train"


def test_a_gpu_is_described_by_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!{sys.executable}\nprint('Tesla T4, 15360 MiB')\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert checks._gpu().found == "Tesla T4, 15360 MiB"
