"""Run by an ordinary user: jobs as JSON lines on stdin, results as JSON lines on stdout. Needs loop.sandbox alone."""

from __future__ import annotations

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loop.errors import SandboxError
from loop.sandbox import get_backend
from loop.types import Limits, Mount, SandboxSpec

WRITING = threading.Lock()


def carry_out(job: dict[str, Any]) -> None:
    """Runs one job and says what came of it."""
    folder = Path(job["folder"])
    os.environ.update(job["bait"])
    spec = SandboxSpec(
        argv=("/venv/bin/python", "-I", "/harness/main.py"),
        mounts=(Mount(folder / "harness", "/harness"), Mount(folder / "in", "/in")),
        outputs=tuple(job["outputs"]),
        limits=Limits(**job["limits"]),
        env=job["env"],
        runtime=Path(job["runtime"]),
    )
    try:
        said = asdict(get_backend().run(spec, folder / "out"))
    except SandboxError as error:
        said = {"error": str(error)}
    with WRITING:
        print(json.dumps({"id": job["id"], **said}), flush=True)


def main() -> None:
    """Probes the sandbox, then works until stdin ends."""
    try:
        get_backend()
    except SandboxError as error:
        sys.exit(str(error))
    with ThreadPoolExecutor(max_workers=int(sys.argv[1])) as pool:
        for line in sys.stdin:
            pool.submit(carry_out, json.loads(line))


if __name__ == "__main__":
    main()
