"""What `test --coverage` says of the trusted core, on real measurements of real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from deploy import branches
from deploy.home import REPO


def measure(folder: Path, program: str) -> None:
    """Run a program in a Python process of its own that writes its measurement into `folder`."""
    subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **branches.environment(folder)},
        cwd=REPO,
        check=True,
    )


def line_of(name: str, start: str) -> str:
    """The number of the first line of governance/NAME.py that begins so."""
    lines = (REPO / "governance" / f"{name}.py").read_text().splitlines()
    return str(next(number for number, line in enumerate(lines, 1) if line.startswith(start)))


def test_what_two_processes_took_is_not_missed_and_the_rest_is_named(tmp_path: Path) -> None:
    measure(tmp_path, "import governance.errors")
    measure(tmp_path, "import governance.transitions")
    files = dict(line.strip().split(": ", 1) for line in branches.missed(tmp_path))
    first_imports = {name: files[f"governance/{name}.py"].split(", ")[0] for name in ("errors", "lanes")}
    assert first_imports["lanes"] == line_of("lanes", "from __future__")
    assert first_imports["errors"] != line_of("errors", "from __future__")
    assert line_of("transitions", "from __future__") not in files.get("governance/transitions.py", "").split(
        ", "
    )


def test_a_run_that_measured_nothing_is_said_and_is_no_success(tmp_path: Path) -> None:
    assert branches.missed(tmp_path) == ["nothing was measured: no test ran"]
