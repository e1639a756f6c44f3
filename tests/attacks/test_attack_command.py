"""`manage.py attack`: lines, table, count, exit status."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.attacks.workers import commons, kinds
from tests.conftest import Manage

# Leaves the sandbox's own root writable.
LEAKY = """#!/bin/sh
before=
for word do
  shift
  case "$before$word" in
    --remount-ro) before=--remount-ro ;;
    --remount-ro/) before= ;;
    *) set -- "$@" $before "$word"; before= ;;
  esac
done
exec /usr/bin/bwrap "$@"
"""
THREE = ("labels_by_path", "output_symlink", "gateway_mcp")


def test_three_attacks_are_run_and_shown_with_their_controls(manage: Manage) -> None:
    done = manage("attack", *THREE, "--control")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "3 attacks, 3 contained, 0 information only, 0 NOT CONTAINED"
    for kind in kinds():
        assert any(line.startswith(f"labels_by_path as {kind}: ok, contained: yes (") for line in lines)
        assert any(
            line.startswith(f"output_symlink as {kind}: output_rejected, contained: yes") for line in lines
        )
    assert any(line.startswith("control labels_by_path: took a secret") for line in lines)
    table = next(place for place, line in enumerate(lines) if line.startswith("group "))
    assert lines[table].split() == [
        "group",
        "attack",
        "as",
        "what",
        "it",
        "tries",
        "outcome",
        "contained",
        "control",
        "seconds",
        "peak",
        "MiB",
    ]
    assert "took a secret" in lines[table + 1]


def test_json_holds_every_run(manage: Manage) -> None:
    done = manage("attack", "labels_by_path", "--json")
    told = json.loads(done.stdout)
    assert [run["worker"] for run in told["runs"]] == list(kinds()) and told["contained"] == 1
    assert told["runs"][0]["problems"] == [] and told["runs"][0]["control"] is None


def test_without_a_sandbox_one_sentence_says_what_to_do(manage: Manage, tmp_path: Path) -> None:
    done = manage("attack", "hang", PATH=str(tmp_path))
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.strip() == (
        "bubblewrap is not installed, and nothing runs without it; install it with: apt install bubblewrap."
    )


def test_an_unknown_attack_and_a_worker_that_cannot_be_had_are_one_sentence(manage: Manage) -> None:
    assert manage("attack", "fork_bom").stderr.strip() == (
        "There is no attack named fork_bom; docs/attacks.md lists them."
    )
    alone = manage("attack", "gateway_mcp", "--as", "user" if os.geteuid() == 0 else "root")
    assert alone.returncode == 1 and len(alone.stderr.strip().splitlines()) == 1


def test_what_is_not_contained_is_said_and_ends_with_exit_status_1(manage: Manage) -> None:
    with commons() as folder:
        (folder / "bwrap").write_text(LEAKY)
        (folder / "bwrap").chmod(0o755)
        path = f"{folder}:{os.environ['PATH']}"
        done = manage("attack", "write_outside", "--as", kinds()[0], PATH=path)
    assert done.returncode == 1 and not done.stderr
    assert (
        "write_outside as" in done.stdout
        and "NOT CONTAINED: It says itself that it succeeded." in done.stdout
    )
    assert done.stdout.splitlines()[-1] == "1 attacks, 0 contained, 0 information only, 1 NOT CONTAINED"
