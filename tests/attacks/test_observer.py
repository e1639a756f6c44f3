"""What the judge's own look at memory sees, and that a program cannot hide from it."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from loop.sandbox import get_backend
from loop.types import Outcome, SandboxResult
from tests.attacks import observer
from tests.attacks.observer import Seen, watching
from tests.loop.sandboxes import runner_of

# The child has nothing of its parent's environment, name or session left when it takes its memory.
HIDING = """
import os, subprocess, sys
subprocess.run([sys.executable, "-I", "-c", "x = b'1' * (80 << 20); import time; time.sleep(1.5)"], env={},
               start_new_session=True)
"""
SOCKETS = """
import socket, time
kept = []
for _ in range(60):
    pair = socket.socketpair()
    kept += pair
    for end in pair:
        end.setblocking(False)
        try:
            while True: end.send(bytes(1 << 16))
        except BlockingIOError:
            continue
time.sleep(1.5)
"""


@pytest.fixture
def watched(tmp_path: Path) -> Callable[[str], tuple[SandboxResult, Seen]]:
    """Runs source in the chosen sandbox and says what was seen of it from outside."""
    run = runner_of(get_backend(), tmp_path)

    def act(source: str) -> tuple[SandboxResult, Seen]:
        seed = secrets.randbits(60)
        with watching(seed) as seen:
            result = run(source, {"env": {"HARNESS_SEED": str(seed)}})
        return result, seen

    return act


def test_memory_of_a_child_that_hides_where_it_comes_from_is_seen(
    watched: Callable[[str], tuple[SandboxResult, Seen]],
) -> None:
    result, seen = watched(HIDING)
    assert (result.outcome, result.log_tail) == (Outcome.OK, "") and seen.looks > 0, result
    assert seen.peak_mib is not None and 80 < seen.peak_mib < 160
    assert seen.group_mib is None or seen.group_mib > 80


def test_memory_in_sockets_is_seen(watched: Callable[[str], tuple[SandboxResult, Seen]]) -> None:
    result, seen = watched(SOCKETS)
    assert (result.outcome, result.log_tail) == (Outcome.OK, "") and seen.looks > 0, result
    assert result.usage.peak_mib is not None and result.usage.peak_mib < 40
    if os.geteuid() == 0:  # an ordinary user may not look into the namespace
        assert seen.sockets_mib is not None and 20 < seen.sockets_mib < 60
        assert seen.peak_mib is not None and seen.peak_mib > result.usage.peak_mib + 10


def test_of_a_run_that_is_not_there_nothing_is_seen() -> None:
    with watching(secrets.randbits(60)) as seen:
        pass
    assert (seen.looks, seen.peak_mib, seen.group_mib) == (0, None, None)


def test_a_neighbour_that_holds_up_its_readers_hides_no_other_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer, "_carries", lambda pid, _marker: time.sleep(5) if pid == 7 else pid == 8)
    watcher, began = observer.Observer(b"HARNESS_SEED=1"), time.monotonic()
    while not watcher.namespace and time.monotonic() - began < 4:
        watcher._find({7: 70, 8: 80})
        time.sleep(0.01)
    assert watcher.namespace == 80 and time.monotonic() - began < 4
