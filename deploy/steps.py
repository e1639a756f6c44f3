"""Runs a step of `lint`, shown with its name, its seconds and its output."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from deploy.home import REPO


@dataclass(frozen=True)
class Step:
    """A command line (run in the repository), or a function that returns complaints; and how to repair."""

    name: str
    argv: tuple[str, ...] = ()
    check: Callable[[], list[str]] | None = None
    remedy: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a step ended: its name, whether it passed, its wall time in seconds."""

    name: str
    ok: bool
    seconds: float


def run_step(step: Step, say: Callable[[str], None], extra: Mapping[str, str] | None = None) -> Outcome:
    """Run one step; its output is shown only when it fails."""
    began = time.monotonic()
    if step.check is not None:
        complaints = step.check()
        ok, output = not complaints, "\n".join(complaints)
    else:
        done = subprocess.run(
            list(step.argv),
            cwd=REPO,
            env={**os.environ, **(extra or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        ok, output = done.returncode == 0, done.stdout
    outcome = Outcome(step.name, ok, time.monotonic() - began)
    say(f"{'ok  ' if ok else 'FAIL'}  {step.name:<28} {outcome.seconds:6.1f} s")
    if not ok:
        say(output.rstrip())
        if step.remedy:
            say(f"-> {step.remedy}")
    return outcome


def python(*args: str) -> tuple[str, ...]:
    """A command line of this environment's Python."""
    return (sys.executable, *args)
