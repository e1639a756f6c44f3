"""A pytest plugin (`-p tests.governance.proof.break_each`): for each guard, run the tests that pass it with it broken.

The tests run whole once, and which guarded functions each one calls is kept; then, for each mutant, a child process
runs those that call its function, until one fails. PAWL_MUTANTS names the file to which the names
of the mutants that no test notices are written, PAWL_MUTANTS_ONLY a JSON list of parts of names (those
that hold one are tried; all where it is empty), PAWL_MUTANTS_SHARE (`0/2`: the first of two) the part
that this process tries.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from tests.governance.proof.mutation import Mutant, broken, code_now, mutants

HANGS_AFTER = 120  # seconds that one test may take


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Run everything once, then the mutants."""
    if session.testsfailed:
        raise session.Interrupted("collection failed")
    share, shares = map(int, os.environ.get("PAWL_MUTANTS_SHARE", "0/1").split("/"))
    only = json.loads(os.environ["PAWL_MUTANTS_ONLY"])
    every = [each for each in mutants() if not only or any(part in each.name for part in only)]
    every = every[share::shares]
    guarded = {code_now(each) for each in every}
    calls: dict[pytest.Item, tuple[float, set[CodeType]]] = {}
    for item in session.items:
        begun = time.monotonic()
        with _watched(guarded) as called:
            failed = _run(session, item)
        if failed:
            print(f"\nleft out, for it fails with every guard whole: {item.nodeid}", flush=True)
        else:
            calls[item] = time.monotonic() - begun, called
    alive, noticing = [], Counter[str]()
    for number, mutant in enumerate(every, 1):
        code = code_now(mutant)

        def order(item: pytest.Item) -> tuple[int, int, float]:
            """What noticed others first, then what calls little else, then what is quick."""
            return -noticing[_short(item)], len(calls[item][1]), calls[item][0]

        tests = sorted((item for item in calls if code in calls[item][1]), key=order)
        noticed = _in_child(session, mutant, tests)
        noticing[noticed] += 1
        if not noticed:
            alive.append(mutant.name)
        verdict = f"killed by {noticed}" if noticed else f"passes {len(tests)} tests"
        print(f"{number}/{len(every)} {verdict}: {mutant.name}", flush=True)
    Path(os.environ["PAWL_MUTANTS"]).write_text(json.dumps([len(every), alive]), encoding="utf-8")
    return True


def _short(item: pytest.Item) -> str:
    return item.nodeid.rpartition("/")[2]


def _run(session: pytest.Session, item: pytest.Item) -> bool:
    """Run one test, after whichever; whether it failed. What the session shares stays: another one is said to come."""
    before = session.testsfailed
    session._setupstate.teardown_exact(item)
    following = next(each for each in session.items if each is not item)
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    return bool(session.testsfailed > before)


@contextmanager
def _watched(guarded: set[CodeType]) -> Iterator[set[CodeType]]:
    """Which of these functions are called while the block runs, in this thread."""
    called: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if frame.f_code in guarded:
            called.add(frame.f_code)

    sys.settrace(note)  # what returns no other tracer hears of calls alone
    try:
        yield called
    finally:
        sys.settrace(None)


def _in_child(session: pytest.Session, mutant: Mutant, tests: list[pytest.Item]) -> str:
    """The first test that fails with this guard broken, in a child process; empty when none does."""
    from django.db import connections

    connections.close_all()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        try:
            with broken(mutant):
                for item in tests:
                    signal.alarm(HANGS_AFTER)
                    os.write(writing, f"{_short(item)}\n".encode())
                    if _run(session, item):
                        break
                else:
                    os.write(writing, b"\n")
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        told = pipe.read().split("\n")[-2:]
    _, status = os.waitpid(child, 0)
    return " ".join([*told, "that never ends"] if os.WIFSIGNALED(status) else told).strip()
