"""`doctor`: what is there, what is missing, what each thing enables."""

from __future__ import annotations

import sys
from typing import Any

from deploy.checks import Finding, examine
from deploy.cli import PawlCommand


class Command(PawlCommand):
    """Report on this machine; exit status 1 when something that the demo needs is missing."""

    help = "Say what is there, what is missing and what each thing enables."
    example = "python3 manage.py doctor --json"

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the report."""
        findings = examine()
        lacking = [finding.name for finding in findings if finding.needed and not finding.ok]
        data = {"ok": not lacking, "missing": lacking, "checks": [finding.as_dict() for finding in findings]}
        self.emit(data, table(findings, lacking))
        if lacking:
            sys.exit(1)


def table(findings: list[Finding], lacking: list[str]) -> str:
    """The report as text: a mark, the name, what was found, and below it the remedy where there is one."""
    lines = []
    for finding in findings:
        mark = "ok     " if finding.ok else ("MISSING" if finding.needed else "-      ")
        lines.append(f"{mark}  {finding.name:<16} {finding.found}")
        lines.append(f"{'':<27}for {finding.enables}" + (f"; {finding.remedy}" if finding.remedy else ""))
    verdict = (
        f"Missing for the demo: {', '.join(lacking)}."
        if lacking
        else "Everything that the demo needs is here."
    )
    return "\n".join([*lines, "", verdict])
