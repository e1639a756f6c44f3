"""`attack`: hostile harnesses against the sandbox of this machine, judged from outside."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError, CommandParser

from deploy.cli import PawlCommand
from deploy.home import REPO

if TYPE_CHECKING:
    from tests.attacks.catalogue import Attack
    from tests.attacks.control import Control
    from tests.attacks.judge import Verdict

BOTH = "both"


class Command(PawlCommand):
    """Run the containment tests by hand, on the backend that PAWL_SANDBOX chooses."""

    help = "Run hostile harnesses in this machine's sandbox and print what each came to."
    example = "python3 manage.py attack labels_by_path fork_bomb --control"

    def add_arguments(self, parser: CommandParser) -> None:
        """Which attacks, as whom, and whether without the sandbox too."""
        parser.add_argument("names", nargs="*", metavar="NAME", help="Attacks (default: all of them).")
        parser.add_argument(
            "--as", choices=["root", "user", BOTH], default=BOTH, dest="worker",
            help="Whose worker runs them (default: both, as far as this account can).",
        )  # fmt: skip
        parser.add_argument(
            "--control", action="store_true", help="Also run each without the sandbox, in an outer jail."
        )
        parser.add_argument("--write", action="store_true", help="Only write the table in docs/attacks.md.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run; the last line counts. Exit status 1 when anything was not contained."""
        if not (REPO / "tests" / "attacks").is_dir() or importlib.util.find_spec("tests.attacks") is None:
            raise CommandError(
                "The attacks are not installed here; run this in a checkout, which has tests/."
            )
        from loop.sandbox import get_backend
        from tests.attacks import report
        from tests.attacks.catalogue import CatalogueError, chosen
        from tests.attacks.workers import WorkerError

        if options["write"]:
            report.write_docs()
            return self.emit({"written": "docs/attacks.md"}, "Wrote the table in docs/attacks.md.")
        get_backend()
        try:
            attacks = chosen(options["names"])
            verdicts = self.judged(attacks, options["worker"])
        except (CatalogueError, WorkerError) as error:
            raise CommandError(str(error)) from error
        controls = self.controls(attacks) if options["control"] else {}
        counts = report.summary(verdicts)
        table = report.text(verdicts, controls)
        self.emit(report.data(verdicts, controls), f"{table}\n\n{report.last_line(counts)}")
        if counts["not_contained"]:
            sys.exit(1)

    def judged(self, attacks: list[Attack], worker: str) -> list[Verdict]:
        """All verdicts, each shown as it comes."""
        from tests.attacks.gateway_judge import judge_gateway
        from tests.attacks.judge import judge_all
        from tests.attacks.workers import HereWorker, kinds

        here, verdicts = HereWorker().name, []
        for kind in kinds() if worker == BOTH else (worker,):
            plain = [attack for attack in attacks if attack.runs_as(kind)]
            for left_out in (attack for attack in attacks if attack.user and kind == "user"):
                self.say(f"{left_out.name} as user: not run, not contained: {left_out.user}")
            for verdict in judge_all(plain, kind):
                verdicts.append(self.shown(verdict))
            gateway = [attack for attack in attacks if attack.needs_gateway]
            if kind == here:
                verdicts += [self.shown(judge_gateway(attack, kind)) for attack in gateway]
            elif gateway and worker != BOTH:
                self.say(f"{len(gateway)} attacks on the gateway run as {here} alone.")
        if not verdicts:
            raise CommandError(f"Nothing was run: these attacks run as {here} alone; see docs/attacks.md.")
        return verdicts

    def controls(self, attacks: list[Attack]) -> dict[str, Control]:
        """What each attack does without the sandbox, shown as it comes."""
        from tests.attacks.control import JailError, control_all

        found = {}
        try:
            for control in control_all(attacks):
                found[control.attack.name] = control
                weak = "" if control.attack.works else f" (weak evidence: {control.attack.control})"
                self.say(f"control {control.attack.name}: {control}{weak}")
        except JailError as error:
            raise CommandError(str(error)) from error
        return found

    def shown(self, verdict: Verdict) -> Verdict:
        """Print one verdict's line."""
        name, problems = verdict.attack.name, " ".join(verdict.problems)
        state = f"NOT CONTAINED: {problems}" if problems else f"contained: {verdict.contained}"
        self.say(f"{name} as {verdict.worker}: {verdict.outcome}, {state} ({verdict.seconds:.1f} s)")
        return verdict

    def say(self, line: str) -> None:
        """Show progress (on stderr with `--json`)."""
        (self.stderr if self.as_json else self.stdout).write(line)
