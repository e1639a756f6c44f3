"""The sandbox backends that can run on this machine, found by probing them, and programs to run on all of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loop.sandbox import BACKENDS, chosen_backend
from loop.sandbox.base import SandboxBackend
from loop.sandbox.fake import FakeBackend, FakeRun
from loop.types import Limits, Mount, Probe, SandboxResult, SandboxSpec

PROGRAM = "/harness/main.py"
MIB = 1 << 20


@dataclass(frozen=True)
class Case:
    """One program in both forms: Python source for the real sandbox, a function for the fake."""

    source: str
    act: Callable[[FakeRun], int]


def say_and(code: int) -> Callable[[FakeRun], int]:
    def act(run: FakeRun) -> int:
        run.say("hello\n")
        return code

    return act


def write(*files: tuple[str, bytes]) -> Callable[[FakeRun], int]:
    def act(run: FakeRun) -> int:
        for name, data in files:
            run.write(name, data)
        return 0

    return act


def sleep(run: FakeRun) -> int:
    run.write("a.txt", b"early")
    run.sleep(30)
    return 0


def flood(run: FakeRun) -> int:
    for _ in range(200):
        run.say("x" * MIB)
    return 0


def echo(run: FakeRun) -> int:
    run.write("a.txt", run.read("/in/word"))
    return 0


def read_host(run: FakeRun) -> int:
    run.read("/root/.bashrc")
    return 0


def many(run: FakeRun) -> int:
    for index in range(100):
        run.write(f"{index}", b"")
    return 0


def probes() -> dict[str, Probe]:
    """What each real backend says of this machine."""
    return {name: chosen_backend(name).probe() for name in BACKENDS}


def runnable() -> list[str]:
    """The real backends that work here: what the tests of real sandboxes are run on."""
    return [name for name, probe in probes().items() if probe.ok]


def make(name: str, programs: Mapping[str, Callable[[FakeRun], int]]) -> SandboxBackend:
    """The named backend; the fake one knows the given programs."""
    return FakeBackend(programs) if name == "fake" else chosen_backend(name)


def runner_of(backend: SandboxBackend, folder: Path) -> Callable[..., SandboxResult]:
    """Runs source as the harness of this backend below `folder`; a.txt is collected."""

    def run(source: str, spec: dict[str, Any] | None = None, **limits: Any) -> SandboxResult:
        harness, out = folder / "harness", folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        harness.mkdir(exist_ok=True)
        out.mkdir()
        (harness / "main.py").write_text(source)
        chosen: dict[str, Any] = {
            "argv": (backend.python, "-I", PROGRAM),
            "mounts": (Mount(harness, "/harness"),),
            "outputs": ("a.txt",),
            "limits": Limits(**({"wall_s": 10} | limits)),
        }
        return backend.run(SandboxSpec(**(chosen | (spec or {}))), out)

    return run
