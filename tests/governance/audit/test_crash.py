"""A promotion is killed between any two statements: its move and its entry are both there afterwards, or neither."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.home import REPO

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def child(service_env: dict[str, str]) -> Run:
    """Run tests/governance/audit/crash_child.py on a data home of its own."""

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tests.governance.audit.crash_child", *args],
            env=service_env, cwd=REPO, capture_output=True, text=True, timeout=500, check=False,
        )  # fmt: skip

    return run


def test_killing_a_promotion_at_any_statement_leaves_both_or_neither(child: Run, pawl_home: Path) -> None:
    made = child("prepare")
    assert made.returncode == 0, made.stderr
    done = child("sweep")
    assert done.returncode == 0, done.stderr
    killed, before, after = map(int, done.stdout.split())
    assert killed == before + after >= 20 and before >= 10 and after >= 1
