"""What `test --coverage` says of the trusted core, on real measurements of real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from coverage import Coverage

from deploy import branches
from deploy.home import REPO


def measure(folder: Path, program: str, ends: int = 0) -> None:
    """Run a program in a Python process of its own that writes its measurement into `folder`."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **branches.environment(folder)},
        cwd=REPO,
        check=False,
    )
    assert done.returncode == ends


def missed_by_file(folder: Path) -> dict[str, list[str]]:
    """The lines and branches of each file that no process took."""
    told = (line.strip().split(": ", 1) for line in branches.missed(folder))
    return {name: places.split(", ") for name, places in told}


def line_of(name: str, start: str) -> str:
    """The number of the first line of governance/NAME.py that begins so."""
    lines = (REPO / "governance" / f"{name}.py").read_text().splitlines()
    return str(next(number for number, line in enumerate(lines, 1) if line.startswith(start)))


def test_what_two_processes_took_is_not_missed_and_the_rest_is_named(tmp_path: Path) -> None:
    measure(tmp_path, "import governance.errors")
    measure(tmp_path, "import governance.transitions")
    files = missed_by_file(tmp_path)
    first_imports = {name: files[f"governance/{name}.py"][0] for name in ("errors", "lanes")}
    assert first_imports["lanes"] == line_of("lanes", "from __future__")
    assert first_imports["errors"] != line_of("errors", "from __future__")
    assert line_of("transitions", "from __future__") not in files.get("governance/transitions.py", [])
    assert "governance/migrations/0001_initial.py" in files


def test_a_process_that_is_asked_to_end_says_what_it_took(tmp_path: Path) -> None:
    end = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    measure(tmp_path, f"import governance.errors; {end}", -signal.SIGTERM)
    assert missed_by_file(tmp_path)["governance/errors.py"][0] != line_of("errors", "from __future__")


def test_what_tests_took_is_kept_though_their_process_is_killed_as_it_ends(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(
        "import atexit, os, signal\nimport governance.errors\n\n"
        "def test_one():\n    atexit.register(os.kill, os.getpid(), signal.SIGKILL)\n"
    )
    run = ["-q", "-c", str(REPO / "pyproject.toml"), "-p", "tests.conftest", str(tmp_path)]
    measure(tmp_path, f"import pytest; pytest.main({run!r})", -signal.SIGKILL)
    assert missed_by_file(tmp_path)["governance/errors.py"][0] != line_of("errors", "from __future__")


def test_a_line_that_asks_to_be_left_out_is_not(tmp_path: Path) -> None:
    source = tmp_path / "source.py"
    source.write_text("if input():  # pragma: no cover\n    print(1)\n")
    measured = Coverage(data_file=None, config_file=str(REPO / "pyproject.toml")).analysis2(str(source))
    statements, excluded = measured[1:3]
    assert (statements, excluded) == ([1, 2], [])


def test_a_run_that_measured_nothing_is_said_and_is_no_success(tmp_path: Path) -> None:
    assert branches.missed(tmp_path) == ["nothing was measured: no test ran"]
