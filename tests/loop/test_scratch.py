"""Temporary folders of killed processes do not stay."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.home import REPO
from loop.scratch import scratch
from loop.store import Store

HOLD = """
import sys
from pathlib import Path
from loop.scratch import scratch
with scratch("hidden", Path(sys.argv[1])) as folder:
    (folder / "labels.jsonl").write_text("secret")
    print(folder, flush=True)
    sys.stdin.read()
"""


def holder(root: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that holds a scratch folder below `root`, and that folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)],
        cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_process_left_is_removed_by_the_next_and_what_a_live_one_holds_is_not(
    tmp_path: Path,
) -> None:
    killed, left = holder(tmp_path)
    alive, held = holder(tmp_path)
    killed.send_signal(signal.SIGKILL)
    assert (left / "labels.jsonl").exists()
    killed.wait()
    with scratch("hidden", tmp_path) as mine:
        assert sorted(tmp_path.iterdir()) == sorted([held, mine])
        assert mine.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [held]
    alive.communicate("")
    assert list(tmp_path.iterdir()) == []


def test_another_host_does_not_judge_the_folders_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, left = holder(tmp_path)
    killed.kill()
    killed.wait()
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    with scratch("hidden", tmp_path):
        assert left.exists()


def test_a_copy_into_a_store_that_was_cut_off_is_removed_by_the_next(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("whole")
    store = Store(tmp_path / "artifacts")
    store.root.mkdir()
    killed, left = holder(store.root)
    killed.kill()
    killed.wait()
    digest = store.put(source)
    assert not left.exists()
    assert [path.name for path in store.root.iterdir()] == [digest]
