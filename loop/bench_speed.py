"""What isolation costs, as ratios measured side by side in one run, each with the bound that it must keep."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.conf import settings

from loop.runtimes import MANIFEST, Runtime, ensure_runtime
from loop.sandbox import get_backend
from loop.sandbox.base import SandboxBackend
from loop.types import Outcome, SandboxSpec

START_BOUND = 2.2
PARALLEL_BOUND = 0.70
BUILDS_BOUND = 1
WORKERS = 2
# About a quarter of a second, much shorter than any rollout of a bundled task: what a start costs still shows.
WORK = "import hashlib\nfor _ in range(300): hashlib.sha256(bytes(1 << 20)).digest()"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure; it holds when it is at most (or, with `at_least`, at least) its bound."""

    name: str
    value: float
    bound: float
    at_least: bool
    how: str

    @property
    def holds(self) -> bool:
        """Whether the figure keeps its bound."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "holds": self.holds}

    def line(self) -> str:
        """For people."""
        side = "at least" if self.at_least else "at most"
        verdict = "holds" if self.holds else "DOES NOT HOLD"
        return f"{self.name:<24} {self.value:8.2f}   {side} {self.bound:g}: {verdict}   ({self.how})"


@dataclass(frozen=True, slots=True)
class Bench:
    """One backend and one runtime to measure with."""

    backend: SandboxBackend
    runtime: Runtime

    def sandboxed(self, source: str) -> None:
        """Runs Python source in the sandbox. Raises RuntimeError when it does not end well."""
        spec = SandboxSpec(("/venv/bin/python", "-I", "-c", source), (), (), runtime=self.runtime.path)
        with TemporaryDirectory() as out:
            result = self.backend.run(spec, Path(out))
        if result.outcome is not Outcome.OK:
            raise RuntimeError(f"The measured program failed in the sandbox: {result.reason}")

    def bare(self, source: str) -> None:
        """Runs it without one."""
        subprocess.run([sys.executable, "-I", "-c", source], check=True)


def bench_sandbox(rounds: int) -> list[Figure]:
    """Start-up, throughput of two at once, and environments built, on the chosen backend."""
    store = Path(settings.PAWL_HOME) / "bench-runtimes"
    bench = Bench(get_backend(), ensure_runtime(None, store))
    return [_start(bench, rounds), _parallel(bench, rounds), *_environments(bench, rounds, store)]


def _start(bench: Bench, rounds: int) -> Figure:
    bare, sandboxed = _interleaved(rounds, lambda: bench.bare("pass"), lambda: bench.sandboxed("pass"))
    how = f"sandboxed {sandboxed * 1000:.1f} ms, bare {bare * 1000:.1f} ms, medians of {rounds}"
    return Figure("start, x bare Python", sandboxed / bare, START_BOUND, False, how)


def _parallel(bench: Bench, rounds: int) -> Figure:
    """Two rollouts at once against two bare processes at once, on the same work."""
    rounds = max(rounds // 2, 3)
    with ThreadPoolExecutor(WORKERS) as pool:

        def both(act: Callable[[str], None]) -> None:
            list(pool.map(act, [WORK] * WORKERS))

        bare, sandboxed = _interleaved(rounds, lambda: both(bench.bare), lambda: both(bench.sandboxed))
    speeds = f"{WORKERS / sandboxed:.1f} against {WORKERS / bare:.1f} runs/s"
    how = f"{speeds}, {WORKERS} at once, {bare:.2f} s bare, medians of {rounds}"
    return Figure("throughput, x bare", bare / sandboxed, PARALLEL_BOUND, True, how)


def _environments(bench: Bench, rounds: int, store: Path) -> list[Figure]:
    """How many environments were built for all these rollouts, and what asking for one costs each of them."""
    asked = [_seconds(lambda: ensure_runtime(None, store)) for _ in range(rounds)]
    ran = [_seconds(lambda: bench.sandboxed("pass")) for _ in range(3)]
    share = 100 * statistics.median(asked) / (statistics.median(asked) + statistics.median(ran))
    built = len(list(store.glob(f"*/{MANIFEST}")))
    return [
        Figure(
            "environments built", built, BUILDS_BOUND, False, f"over {rounds} rollouts, each asking for one"
        ),
        Figure("environment step, %", share, 5.0, False, "of the time of a rollout that does nothing"),
    ]


def _interleaved(rounds: int, first: Callable[[], None], second: Callable[[], None]) -> tuple[float, float]:
    """Median wall seconds of two acts that take turns, after one of each that does not count."""
    times: tuple[list[float], list[float]] = ([], [])
    for index in range(rounds + 1):
        pair = (_seconds(first), _seconds(second))
        if index:
            for kept, seconds in zip(times, pair, strict=True):
                kept.append(seconds)
    return statistics.median(times[0]), statistics.median(times[1])


def _seconds(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started
