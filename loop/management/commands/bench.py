"""`bench`: figures about the service itself, measured side by side in one run."""

from __future__ import annotations

import os
import subprocess
import sys
from tempfile import TemporaryDirectory
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from deploy.cli import PawlCommand
from deploy.prepare import prepare
from loop.bench_gateway import as_text, bench_gateway
from loop.bench_levers import as_table, bench_levers
from loop.bench_speed import bench_sandbox

FRESH = "PAWL_BENCH_HOME"


class Command(PawlCommand):
    """Measure one thing."""

    help = (
        "Measure: `levers` (hidden accuracy of each lever over seeds), `sandbox` (start-up against bare Python), "
        "`gateway` (what relay and gateway add to a model call; fails above 3 ms at the minimum)."
    )
    example = "python3 manage.py bench levers --seeds 3"

    def add_arguments(self, parser: CommandParser) -> None:
        """What to measure and how often."""
        parser.add_argument("what", choices=["levers", "sandbox", "gateway"])
        parser.add_argument("--seeds", type=int, default=3, help="campaigns of `levers` (default 3)")
        parser.add_argument("--rounds", type=int, default=20, help="rounds of `sandbox` (default 20)")
        parser.add_argument(
            "--calls", type=int, default=400, help="calls of `gateway` each way (default 400)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Measure in a data home of its own, which is gone afterwards."""
        if options["what"] == "gateway":  # needs no data home
            self._gateway(options["calls"])
            return
        if os.environ.get(FRESH) != str(settings.PAWL_HOME):
            self._again_in_a_fresh_home()
            return
        prepare(demo=True)
        if options["what"] == "sandbox":
            found = bench_sandbox(options["rounds"])
            text = f"bare {found['bare_s'] * 1000:.1f} ms, sandboxed {found['sandboxed_s'] * 1000:.1f} ms, "
            self.emit(found, f"{text}ratio {found['ratio']:.2f}")
            return
        results = bench_levers(options["seeds"], lambda line: print(line, file=sys.stderr, flush=True))
        data = [{"seed": result.seed, **result.scores} for result in results]
        self.emit(data, f"Hidden accuracy (400 scans):\n{as_table(results)}")

    def _gateway(self, calls: int) -> None:
        found = bench_gateway(calls)
        self.emit(found, as_text(found))
        if found["added_min_ms"] > found["bound_ms"]:
            raise CommandError(
                f"Relay and gateway add {found['added_min_ms']:.2f} ms to a call at the least; "
                f"the bound is {found['bound_ms']:.0f} ms."
            )

    def _again_in_a_fresh_home(self) -> None:
        with TemporaryDirectory(prefix="pawl-bench-") as home:
            environment = {**os.environ, "PAWL_HOME": home, FRESH: home}
            environment.pop("DATABASE_URL", None)
            done = subprocess.run([sys.executable, *sys.argv], env=environment, check=False)
        if done.returncode != 0:
            sys.exit(done.returncode)
