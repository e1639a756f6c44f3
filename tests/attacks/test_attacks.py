"""Hostile harnesses, judged from outside: secrets, files, sockets, survivors, limits and the score they get.

An attack's own word counts only against it (it prints BREACH where it thinks it succeeded). The control tests at the
end run a few of the attacks without a sandbox, to show that they would succeed there.
"""

from __future__ import annotations

import os
import py_compile
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from loop.types import Outcome
from tests.attacks.arena import HERE, Arena, survivors

REPO = HERE.parents[1]
HONEST_SCORE = 2 / 3
SLACK_S = 2.0
GATEWAY = "gateway_"  # those need a model; test_gateway_abuse.py gives them one
NAMES = sorted(path.name for path in (HERE / "harnesses").iterdir() if not path.name.startswith(GATEWAY))
OK, FAILED, LIMIT = Outcome.OK, Outcome.HARNESS_FAILED, Outcome.LIMIT
TIMEOUT, REJECTED = Outcome.TIMEOUT, Outcome.OUTPUT_REJECTED
# The outcome that each attack must get; one that is not named here must end well, with the honest score.
EXPECTED = {
    "hang": {TIMEOUT},
    "fork_bomb": {TIMEOUT, LIMIT, FAILED},
    "thread_bomb": {TIMEOUT, FAILED},
    "memory_children": {LIMIT},
    "inode_bomb": {LIMIT},
    "log_flood": {LIMIT},
    "other_processes": {OK, FAILED},
    "foreign_syscalls": {FAILED},
    "output_symlink": {REJECTED},
    "output_hardlink": {REJECTED},
    "output_special": {REJECTED},
    "output_folder": {REJECTED},
    "output_sparse": {REJECTED},
    "output_rows": {REJECTED},
    "output_one_row": {REJECTED},
    "output_duplicates": {REJECTED},
    "output_lookalike_ids": {REJECTED},
    "output_encoding": {REJECTED},
    "output_nesting": {REJECTED},
}


@pytest.fixture
def arena(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arena]:
    made = Arena(tmp_path)
    monkeypatch.setenv("PROVIDER_KEY", made.token)
    yield made
    made.close()


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_is_contained(arena: Arena, name: str) -> None:
    harness, seed = arena.harness(name), secrets.randbits(60)
    if name == "planted_bytecode":
        plant_bytecode(harness)
    before = arena.digests()
    report = arena.run(harness, seed)
    assert report.outcome in EXPECTED.get(name, {OK}), (report.reason, report.log_tail[-2000:])
    assert "BREACH" not in report.log_tail
    assert not arena.leaked(report.log_tail)
    assert arena.digests() == before
    assert arena.touched() == []
    assert survivors(seed) == []
    assert report.usage.wall_s is not None and report.usage.wall_s < 2.5 + SLACK_S
    assert report.usage.processes is not None and report.usage.processes <= 64
    assert len(report.log_tail) < 300_000
    if report.outcome is OK:
        assert report.score is not None and report.score.value == pytest.approx(HONEST_SCORE)
    else:
        assert report.score is None and report.reason


def test_nothing_of_one_run_reaches_the_next(arena: Arena) -> None:
    harness = arena.harness("cross_run")
    for _ in range(2):
        report = arena.run(harness, secrets.randbits(60))
        assert report.outcome is OK
        assert "BREACH" not in report.log_tail


def test_a_hostile_log_is_escaped(arena: Arena) -> None:
    report = arena.run(arena.harness("terminal_text"), 1)
    assert "\\x1b[2J" in report.log_tail and "\\u202e" in report.log_tail
    assert not any(char in report.log_tail for char in "\x1b\u202e\u200b\x07")


def plant_bytecode(harness: Path) -> None:
    """Compiled code in __pycache__ that Python would prefer to the source beside it."""
    evil = harness / "evil.py"
    evil.write_text("")
    target = harness / "__pycache__" / f"innocent.{sys.implementation.cache_tag}.pyc"
    py_compile.compile(
        str(evil), str(target), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    evil.unlink()


# --- an ordinary user's worker: the same supervisor in a user namespace ---

ORDINARY_USER = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from loop.sandbox import get_backend
from loop.sandbox.bwrap import python_inside
from loop.types import Limits, Mount, SandboxSpec
folder, seed = Path(sys.argv[1]), sys.argv[2]
env = {"HARNESS_IN": "/in", "HARNESS_OUT": "/out", "HARNESS_SEED": seed}
mounts = (Mount(folder / "harness", "/harness"), Mount(folder / "in", "/in"))
limits = Limits(wall_s=2.5, memory_mib=400)
spec = SandboxSpec((python_inside(), "-I", "/harness/main.py"), mounts, ("predictions.jsonl",), limits, env)
print(json.dumps(asdict(get_backend().run(spec, folder / "out"))))
"""
NOBODY = 65534
ORDINARY_NAMES = [
    "labels_by_path", "network_unix", "network_families", "privileges", "fork_bomb", "daemon", "environment",
    "output_files", "output_unreadable", "output_folder", "write_outside", "other_processes",
]  # fmt: skip


@pytest.fixture
def commons() -> Iterator[Path]:
    """A folder that everyone may enter, with a copy of the sandbox's code for another user to run."""
    with tempfile.TemporaryDirectory(prefix="sbx-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        ignore = shutil.ignore_patterns("__pycache__")
        (folder / "code" / "loop").mkdir(parents=True)
        for part in ("__init__.py", "types.py", "errors.py", "scratch.py", "processes.py"):
            shutil.copyfile(REPO / "loop" / part, folder / "code" / "loop" / part)
        shutil.copytree(REPO / "loop" / "sandbox", folder / "code" / "loop" / "sandbox", ignore=ignore)
        yield folder


def public_python() -> str:
    """An interpreter that every user of this machine can start."""
    private = Path(sys.base_prefix).resolve().is_relative_to(Path.home())
    return "/usr/bin/python3" if private else str(Path(sys.executable).resolve())


@pytest.mark.parametrize("name", ORDINARY_NAMES)
def test_an_attack_is_contained_for_an_ordinary_users_worker(arena: Arena, commons: Path, name: str) -> None:
    if os.geteuid() != 0:
        return  # then every other test here has already run as an ordinary user
    shutil.copytree(arena.harness(name), commons / "harness")
    shutil.copytree(arena.task_dir / "public" / "public-val", commons / "in")
    (commons / "out").mkdir()
    os.chown(commons / "out", NOBODY, NOBODY)
    before, seed = arena.digests(), secrets.randbits(60)
    done = subprocess.run(
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", public_python(), "-B", "-c",
         ORDINARY_USER, str(commons), str(seed)],
        capture_output=True, text=True, timeout=30, check=False, cwd="/",
        env={"PYTHONPATH": str(commons / "code"), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    allowed = {TIMEOUT, FAILED, LIMIT} if name == "fork_bomb" else EXPECTED.get(name, {OK})
    assert any(f'"outcome": "{outcome.value}"' in done.stdout for outcome in allowed), done.stdout[-2000:]
    assert "BREACH" not in done.stdout
    assert not arena.leaked(done.stdout)
    assert arena.digests() == before
    assert arena.touched() == []
    assert survivors(seed) == []


# --- the control: without a sandbox these attacks succeed ---


@pytest.mark.parametrize(
    "name", ["labels_by_path", "environment", "network_tcp", "network_unix", "write_outside"]
)
def test_without_a_sandbox_the_same_attack_succeeds(arena: Arena, name: str, tmp_path: Path) -> None:
    harness, before = arena.harness(name), arena.victim.read_text()
    text = (harness / "main.py").read_text()
    # Leave the machine's own files alone: without the sandbox only the bait is written.
    (harness / "main.py").write_text(re.sub(r"^places \+?= .*$", "places = []", text, flags=re.MULTILINE))
    outputs = tmp_path / "plain"
    outputs.mkdir()
    env = {
        "HARNESS_IN": str(arena.task_dir / "public" / "public-val"),
        "HARNESS_OUT": str(outputs),
        "PROVIDER_KEY": arena.token,
    }
    done = subprocess.run(
        [sys.executable, "-I", str(harness / "main.py")],
        env=env, capture_output=True, text=True, timeout=30, check=False, errors="replace",
    )  # fmt: skip
    assert arena.leaked(done.stdout) or arena.touched() or arena.victim.read_text() != before
