"""`manage.py validate_detector`: measures the detectors on the labelled set; what reaches the bars may block."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from deploy.cli import PawlCommand
from loop.detectors.labelled import Example, load_examples
from loop.detectors.measure import (
    HELD_OUT,
    LEAST_CHEATS,
    LEAST_PRECISION,
    LEAST_RECALL,
    count,
    in_force,
    measurement,
    mistakes,
    write,
)
from loop.detectors.registry import DETECTORS, Detector

HALVES = (HELD_OUT, "dev")


class Command(PawlCommand):
    """Reads the shipped examples and no database; `--write` puts the figures on file, where a run finds them."""

    help = "Measure detectors on the labelled set: precision, recall, and whether each may block."
    example = (
        "python3 manage.py validate_detector --all\n"
        "  python3 manage.py validate_detector 'D6 transcript' --mistakes\n"
        "  python3 manage.py validate_detector --all --write\n\n"
        f"A detector may block at a precision of at least {LEAST_PRECISION} and a recall of at least {LEAST_RECALL}\n"
        f"on the held-out half, of at least {LEAST_CHEATS} cheats that it claims to see, and only while the figures\n"
        "on file are of this code and this labelled set."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", help="one detector: its name or the start of it, such as D5")
        parser.add_argument("--all", action="store_true", help="every detector")
        parser.add_argument("--half", choices=HALVES, default=HELD_OUT, help="which half to measure on")
        parser.add_argument("--mistakes", action="store_true", help="name the examples that it gets wrong")
        parser.add_argument("--write", action="store_true", help="put the measurement of all on file")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = _chosen(options)
        examples = load_examples()
        used = [each for each in examples if each.half == options["half"]]
        rows = {detector.name: _row(detector, used) for detector in chosen}
        if options["write"]:
            write(measurement(examples))
        on_file = sorted(name for name in rows if name in in_force())
        honest = sum(each.honest for each in used)
        sizes = {"half": options["half"], "honest": honest, "cheating": len(used) - honest}
        text = _table(rows, sizes, options["mistakes"], len(on_file) == len(rows))
        self.emit({**sizes, "detectors": rows, "on_file": on_file}, text)


def _chosen(options: dict[str, Any]) -> list[Detector]:
    if bool(options["name"]) == options["all"]:
        raise CommandError("Name one detector or give --all, one of the two.")
    if options["write"] and not options["all"]:
        raise CommandError("--write puts the figures of all detectors on file; give --all with it.")
    if options["all"]:
        return list(DETECTORS)
    found = [each for each in DETECTORS if each.name.lower().startswith(options["name"].lower())]
    if not found:
        names = ", ".join(each.name for each in DETECTORS)
        raise CommandError(f"There is no detector {options['name']!r}; choose one of {names}.")
    return found


def _row(detector: Detector, used: list[Example]) -> dict[str, Any]:
    counts = count(detector, used)
    return {**counts.as_json(), "claims": sorted(detector.claims), "mistakes": mistakes(detector, used)}


def _table(rows: dict[str, Any], sizes: dict[str, Any], wrong: bool, on_file: bool) -> str:
    head = f"{'detector':<22} {'TP':>3} {'FP':>3} {'FN':>3} {'TN':>3}  {'precision':<18} {'recall':<18} may"
    lines = [
        f"{sizes['honest']} honest and {sizes['cheating']} cheating examples, half {sizes['half']}",
        head,
    ]
    for name, row in rows.items():
        counts = " ".join(f"{row[key]:>3}" for key in ("tp", "fp", "fn", "tn"))
        lines.append(
            f"{name:<22} {counts}  {_figure(row, 'precision'):<18} {_figure(row, 'recall'):<18} "
            f"{'block' if row['blocks'] else 'advise'}"
        )
        lines += [f"    {each}" for each in row["mistakes"]] if wrong else []
    if not on_file:
        lines.append(
            "The figures on file are of other code or another set: until --all --write, every detector advises."
        )
    return "\n".join(lines)


def _figure(row: dict[str, Any], name: str) -> str:
    if row[name] is None:
        return "unknown"
    low, high = row[f"{name}_interval"]
    return f"{row[name]:.2f} [{low:.2f}, {high:.2f}]"
