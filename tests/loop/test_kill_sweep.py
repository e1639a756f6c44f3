"""A worker killed at any point of a campaign loses nothing: each act, at each of its points, before and after."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.home import REPO

STEPS = ("prepare", "roll_out", "decide", "edit", "compare")
ACTS = (
    "prepare 0", "compare 0", "begin 0",
    *(f"{step} 1" for step in STEPS), "begin 1",
    *(f"{step} 2" for step in STEPS), "submit 2", "verify", "finish 2",
)  # fmt: skip


@pytest.fixture(scope="module")
def campaigns(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What tests/loop/kill_sweep.py tells: the undisturbed campaign, then one for each number of a point."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tests.loop.kill_sweep"],
        env=_environment(folder), cwd=REPO, capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PAWL_", "DATABASE_"))}
    return {
        **kept,
        "PAWL_HOME": str(folder / "home"),
        "PAWL_LOG_LEVEL": "WARNING",
        "TMPDIR": str(folder / "tmp"),
        "DJANGO_SETTINGS_MODULE": "deploy.settings",
        "PYTHONPATH": str(REPO),
    }


def test_the_undisturbed_campaign_does_every_act_and_ends_with_a_ready_proposal(
    campaigns: list[dict[str, Any]],
) -> None:
    calm = campaigns[0]
    assert calm["strikes"] == []
    assert tuple(calm["points"]) == ACTS
    outcome = calm["outcome"]
    assert (outcome["status"], [status for status, _ in outcome["proposals"]]) == ("finished", ["ready"])
    assert len(outcome["archive"]) == 3
    assert outcome["left behind"] == outcome["log differs"] == []


def test_every_point_of_every_act_was_struck(campaigns: list[dict[str, Any]]) -> None:
    struck = {(act, number) for number, run in enumerate(campaigns) for act, _ in run["strikes"]}
    points = campaigns[0]["points"]
    assert struck == {(act, number + 1) for act in ACTS for number in range(len(points[act]))}


def test_each_step_was_struck_in_its_work_right_before_its_commit_and_right_after(
    campaigns: list[dict[str, Any]],
) -> None:
    struck = {(act.split()[0], point) for run in campaigns for act, point in run["strikes"]}
    commit = "commit: UPDATE loop_generation cost_usd ="
    for step in (*STEPS, "submit"):
        assert {(step, commit), (step, "write: UPDATE loop_campaign lease_until =")} <= struck
    assert {("edit", "git: hash-object"), ("edit", "git: update-ref"), ("compare", "sandbox: runs")} <= struck
    for point in ("sandbox: runs", "commit: UPDATE loop_verification status =", "end of the act"):
        assert ("verify", point) in struck


def test_whatever_was_struck_the_campaign_ends_as_if_nothing_had_happened(
    campaigns: list[dict[str, Any]],
) -> None:
    calm, *disturbed = campaigns
    assert len(disturbed) >= 10
    for number, run in enumerate(disturbed, 1):
        assert run["outcome"] == calm["outcome"], f"killed at point {number}: {run['strikes']}"
