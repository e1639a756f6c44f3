"""`bench`: figures about the service itself, measured side by side in one run."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict
from tempfile import TemporaryDirectory
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from deploy.cli import PawlCommand
from deploy.prepare import prepare
from loop.bench_governance import bench_governance
from loop.bench_levers import as_table, bench_levers
from loop.bench_speed import bench_sandbox

FRESH = "PAWL_BENCH_HOME"


class Command(PawlCommand):
    """Measure one thing."""

    help = "Measure: `levers` (hidden accuracy over seeds), `sandbox` (start-up), `governance` (the log; bounds)."
    example = "python3 manage.py bench levers --seeds 3"

    def add_arguments(self, parser: CommandParser) -> None:
        """What to measure and how often."""
        parser.add_argument("what", choices=["governance", "levers", "sandbox"])
        parser.add_argument("--seeds", type=int, default=3, help="campaigns of `levers` (default 3)")
        parser.add_argument("--entries", type=int, default=100_000, help="entries of `governance` (100,000)")
        parser.add_argument("--rounds", type=int, default=20, help="rounds of `sandbox` (default 20)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Measure in a data home of its own, which is gone afterwards."""
        if os.environ.get(FRESH) != str(settings.PAWL_HOME):
            self._again_in_a_fresh_home()
            return
        prepare(demo=True)
        if options["what"] == "governance":
            figures = bench_governance(
                options["entries"], lambda line: print(line, file=sys.stderr, flush=True)
            )
            self.emit([asdict(figure) for figure in figures], "\n".join(map(str, figures)))
            if not all(figure.holds for figure in figures):
                sys.exit(1)
            return
        if options["what"] == "sandbox":
            found = bench_sandbox(options["rounds"])
            text = f"bare {found['bare_s'] * 1000:.1f} ms, sandboxed {found['sandboxed_s'] * 1000:.1f} ms, "
            self.emit(found, f"{text}ratio {found['ratio']:.2f}")
            return
        results = bench_levers(options["seeds"], lambda line: print(line, file=sys.stderr, flush=True))
        data = [{"seed": result.seed, **result.scores} for result in results]
        self.emit(data, f"Hidden accuracy (400 scans):\n{as_table(results)}")

    def _again_in_a_fresh_home(self) -> None:
        with TemporaryDirectory(prefix="pawl-bench-") as home:
            environment = {**os.environ, "PAWL_HOME": home, FRESH: home}
            environment.pop("DATABASE_URL", None)
            done = subprocess.run([sys.executable, *sys.argv], env=environment, check=False)
        if done.returncode != 0:
            sys.exit(done.returncode)
