"""What isolation costs, as ratios measured side by side in one run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from django.conf import settings

from loop.runtimes import ensure_runtime
from loop.sandbox import get_backend
from loop.types import SandboxSpec


def bench_sandbox(rounds: int) -> dict[str, float]:
    """Median wall seconds of a bare and a sandboxed Python that does nothing, interleaved, and their ratio."""
    runtime = ensure_runtime(None, Path(settings.PAWL_HOME) / "runtimes")
    backend = get_backend()
    spec = SandboxSpec(
        argv=("/venv/bin/python", "-I", "-c", "pass"), mounts=(), outputs=(), runtime=runtime.path
    )

    def sandboxed() -> None:
        with TemporaryDirectory() as out:
            backend.run(spec, Path(out))

    def bare() -> None:
        subprocess.run([sys.executable, "-I", "-c", "pass"], check=True)

    times: dict[str, list[float]] = {"bare": [], "sandboxed": []}
    for _ in range(rounds):
        times["bare"].append(_seconds(bare))
        times["sandboxed"].append(_seconds(sandboxed))
    bare_s, sandboxed_s = statistics.median(times["bare"]), statistics.median(times["sandboxed"])
    return {"bare_s": bare_s, "sandboxed_s": sandboxed_s, "ratio": sandboxed_s / bare_s}


def _seconds(act: Callable[[], None]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started
