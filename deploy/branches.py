"""Which branches of the trusted core a run of the tests takes, in every process that it starts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from deploy.home import REPO
from deploy.steps import python

_DATA = "data"


def environment(folder: Path) -> dict[str, str]:
    """What makes each Python process below write its measurement into `folder` ([tool.coverage] in pyproject.toml)."""
    return {"COVERAGE_PROCESS_START": str(REPO / "pyproject.toml"), "COVERAGE_FILE": str(folder / _DATA)}


def missed(folder: Path) -> list[str]:
    """One line for each file with lines or branches that no process took; says so when nothing was measured.

    Raises subprocess.CalledProcessError when what was measured cannot be read.
    """
    if not any(folder.glob(f"{_DATA}.*")):
        return ["nothing was measured: no test ran"]
    report = folder / "report.json"
    for command in (("combine",), ("json", "-o", str(report))):
        subprocess.run(
            python("-m", "coverage", *command, "-q", f"--data-file={folder / _DATA}"), cwd=REPO, check=True
        )
    files = json.loads(report.read_text())["files"]
    return [f"  {name}: {_places(measured)}" for name, measured in sorted(files.items()) if _places(measured)]


def _places(measured: dict[str, Any]) -> str:
    lines = [str(line) for line in measured["missing_lines"]]
    branches = [f"{start}->{'exit' if end < 0 else end}" for start, end in measured["missing_branches"]]
    return ", ".join([*lines, *branches])
