"""`bench`: figures about the service itself, measured side by side in one run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from deploy.cli import PawlCommand
from deploy.prepare import prepare
from loop import bench_gate_report as gate_report
from loop.bench_gate import bench_gate
from loop.bench_levers import as_table, bench_levers
from loop.bench_speed import bench_sandbox

FRESH = "PAWL_BENCH_HOME"


class Command(PawlCommand):
    """Measure one thing."""

    help = (
        "Measure: `levers` (hidden accuracy of each lever over seeds), `sandbox` (start-up against bare Python), "
        "`gate` (simulated campaigns without gain, and power)."
    )
    example = "python3 manage.py bench levers --seeds 3"

    def add_arguments(self, parser: CommandParser) -> None:
        """What to measure and how often."""
        parser.add_argument("what", choices=["levers", "sandbox", "gate"])
        parser.add_argument("--seeds", type=int, default=3, help="campaigns of `levers` (default 3)")
        parser.add_argument("--rounds", type=int, default=20, help="rounds of `sandbox` (default 20)")
        parser.add_argument("--runs", type=int, default=2000, help="campaigns a row of `gate` (default 2000)")
        parser.add_argument("--seed", type=int, default=1, help="seed of `gate` (default 1)")
        parser.add_argument("--svg", type=Path, metavar="FILE", help="also draw `gate` as a picture")

    def handle(self, *args: Any, **options: Any) -> None:
        """Measure in a data home of its own, which is gone afterwards."""
        if options["what"] == "gate":
            self._gate(options)
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
        results = bench_levers(options["seeds"], _say)
        data = [{"seed": result.seed, **result.scores} for result in results]
        self.emit(data, f"Hidden accuracy (400 scans):\n{as_table(results)}")

    def _gate(self, options: dict[str, Any]) -> None:
        if options["runs"] < 100:
            raise CommandError("Give --runs of at least 100; fewer say nothing about rates of some percent.")
        results = bench_gate(options["runs"], options["seed"], _say)
        if options["svg"]:
            options["svg"].write_text(gate_report.as_svg(results), encoding="utf-8")
        self.emit(gate_report.as_json(results), gate_report.as_text(results))
        if failures := results.failures():
            raise CommandError(" ".join(failures))

    def _again_in_a_fresh_home(self) -> None:
        with TemporaryDirectory(prefix="pawl-bench-") as home:
            environment = {**os.environ, "PAWL_HOME": home, FRESH: home}
            environment.pop("DATABASE_URL", None)
            done = subprocess.run([sys.executable, *sys.argv], env=environment, check=False)
        if done.returncode != 0:
            sys.exit(done.returncode)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
