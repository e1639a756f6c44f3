"""`bench`: figures about the service itself, measured side by side in one run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from deploy.cli import PawlCommand
from deploy.prepare import prepare
from loop import bench_core, bench_gateway
from loop import bench_gate_report as gate_report
from loop.bench_gate import bench_gate
from loop.bench_governance import bench_governance
from loop.bench_levers import as_table, bench_levers
from loop.bench_speed import bench_sandbox

FRESH = "PAWL_BENCH_HOME"


@dataclass(frozen=True, slots=True)
class Found:
    """What a measurement found: as JSON, as text, and the sentence that says which bound does not hold, if one."""

    data: Any
    text: str
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Bench:
    """One thing to measure. `options` maps a flag to its default, a whole number, and what it means."""

    help: str
    run: Callable[[dict[str, Any]], Found]
    options: Mapping[str, tuple[int, str]]
    needs_home: bool = True


def _levers(options: dict[str, Any]) -> Found:
    results = bench_levers(options["seeds"], _say)
    data = [{"seed": result.seed, **result.scores} for result in results]
    return Found(data, f"Hidden accuracy (400 scans):\n{as_table(results)}")


def _sandbox(options: dict[str, Any]) -> Found:
    figures = bench_sandbox(options["rounds"])
    broken = [f"The bound on {figure.name} does not hold." for figure in figures if not figure.holds]
    data = {"figures": [figure.as_json() for figure in figures]}
    return Found(data, "\n".join(figure.line() for figure in figures), " ".join(broken))


def _gateway(options: dict[str, Any]) -> Found:
    found = bench_gateway.bench_gateway(options["calls"])
    failure = ""
    if found["added_min_ms"] > found["bound_ms"]:
        failure = (
            f"Relay and gateway add {found['added_min_ms']:.2f} ms to a call at the least; "
            f"the bound is {found['bound_ms']:.0f} ms."
        )
    return Found(found, bench_gateway.as_text(found), failure)


def _gate(options: dict[str, Any]) -> Found:
    if options["runs"] < 100:
        raise CommandError("Give --runs of at least 100; fewer say nothing about rates of some percent.")
    results = bench_gate(options["runs"], options["seed"], _say)
    if options["svg"]:
        options["svg"].write_text(gate_report.as_svg(results), encoding="utf-8")
    return Found(gate_report.as_json(results), gate_report.as_text(results), " ".join(results.failures()))


def _governance(options: dict[str, Any]) -> Found:
    figures = bench_governance(options["entries"], _say)
    broken = [str(figure) for figure in figures if not figure.holds]
    return Found([asdict(figure) for figure in figures], "\n".join(map(str, figures)), " ".join(broken))


def _core(options: dict[str, Any]) -> Found:
    speed = bench_core.moves_and_inbox(
        bench_core.Size(options["proposals"], options["log"], options["moves"]), _say
    )
    storms = bench_core.storms(options["start"], options["storms"], _say)
    found = {
        **bench_core.interleavings(options["start"], options["interleavings"], _say),
        "storms": storms,
        "speed": speed,
    }
    return Found(found, bench_core.as_text(found), " ".join(bench_core.failures(found)))


BENCHES: Mapping[str, Bench] = {
    "levers": Bench(
        "hidden accuracy of each lever over seeds", _levers, {"seeds": (3, "how many campaigns")}
    ),
    "sandbox": Bench("what isolation costs against bare Python", _sandbox, {"rounds": (20, "rounds")}),
    "gateway": Bench(
        "what relay and gateway add to a model call", _gateway, {"calls": (400, "calls each way")}, False
    ),
    "governance": Bench(
        "what the log costs, against its bounds", _governance, {"entries": (100_000, "entries")}
    ),
    "core": Bench(
        "random histories of the trusted core against an oracle; moves and the inbox when it is full",
        _core,
        {
            "interleavings": (10_000, "random histories"),
            "storms": (100, "times that random people act at once on PostgreSQL"),
            "start": (0, "number of the first one"),
            "proposals": (100_000, "proposals in the inbox's database"),
            "log": (1_000_000, "entries of its log"),
            "moves": (9, "promotions and reverts measured; 0: histories only"),
        },
    ),
    "gate": Bench(
        "simulated campaigns without gain, and power",
        _gate,
        {"runs": (2000, "campaigns a row"), "seed": (1, "seed of the simulation")},
        False,
    ),
}


class Command(PawlCommand):
    """Measure one thing; exit status 1 when a bound does not hold."""

    help = "Measure: " + ", ".join(f"`{name}` ({bench.help})" for name, bench in BENCHES.items()) + "."
    example = "python3 manage.py bench levers --seeds 3"

    def add_arguments(self, parser: CommandParser) -> None:
        """What to measure and how often."""
        parser.add_argument("what", choices=list(BENCHES))
        for name, bench in BENCHES.items():
            for flag, (default, meaning) in bench.options.items():
                parser.add_argument(
                    f"--{flag}", type=int, default=default, help=f"`{name}`: {meaning} (default {default})"
                )
        parser.add_argument("--svg", type=Path, metavar="FILE", help="`gate`: also draw a picture")

    def handle(self, *args: Any, **options: Any) -> None:
        """Measure, where needed in a data home of its own, which is gone afterwards."""
        bench = BENCHES[options["what"]]
        if bench.needs_home:
            if os.environ.get(FRESH) != str(settings.PAWL_HOME):
                self._again_in_a_fresh_home()
                return
            prepare(demo=True)
        found = bench.run(options)
        self.emit(found.data, found.text)
        if found.failure:
            raise CommandError(found.failure)

    def _again_in_a_fresh_home(self) -> None:
        with TemporaryDirectory(prefix="pawl-bench-") as home:
            environment = {**os.environ, "PAWL_HOME": home, FRESH: home}
            environment.pop("DATABASE_URL", None)
            done = subprocess.run([sys.executable, *sys.argv], env=environment, check=False)
        if done.returncode != 0:
            sys.exit(done.returncode)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
