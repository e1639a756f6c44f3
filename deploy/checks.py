"""What `doctor` looks at: each check says what was found, what it enables and how to get it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from deploy import bootstrap, home, system

FREE_MB_NEEDED = 500
_KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY")


@dataclass(frozen=True)
class Finding:
    """One line of the report; `needed` marks what `demo --harness-only` cannot do without."""

    name: str
    ok: bool
    found: str
    enables: str
    remedy: str = ""
    needed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def examine() -> list[Finding]:
    """Look at this machine, in the order of the report."""
    checks: list[Callable[[], Finding]] = [
        _python,
        lambda: _extra("core", "every command", needed=True),
        lambda: _extra("train", "the weights lever", needed=False),
        lambda: _extra("dev", "test and lint", needed=False),
        _sandbox,
        _other_sandbox,
        lambda: _program(system.GIT, needed=True),
        lambda: _program(system.REDIS, needed=True),
        lambda: _program(system.CHROMIUM, needed=False),
        lambda: _program(system.POSTGRESQL, needed=False),
        _gpu,
        _keys,
        _home,
        _space,
    ]
    return [check() for check in checks]


def _python() -> Finding:
    return Finding(
        "python", True, f"{platform.python_version()} at {sys.prefix}", "every command", needed=True
    )


def _extra(name: str, enables: str, *, needed: bool) -> Finding:
    names = [_distribution(line) for line in bootstrap.requirements(name)]
    absent = [distribution for distribution in names if not _installed(distribution)]
    if absent:
        remedy = "python3 manage.py setup" + ("" if name == "core" else f" --extra {name}")
        return Finding(f"packages: {name}", False, f"missing {', '.join(absent)}", enables, remedy, needed)
    found = f"torch {version('torch')}" if name == "train" else "installed"
    return Finding(f"packages: {name}", True, found, enables, "", needed)


def _distribution(requirement: str) -> str:
    for mark in "[<>=!~; ":
        requirement = requirement.partition(mark)[0]
    return requirement


def _installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _program(program: system.Program, *, needed: bool) -> Finding:
    path = system.find(program)
    remedy = "" if path else f"apt-get install --no-install-recommends {program.package}"
    if program is system.REDIS and os.environ.get("REDIS_URL", "").strip():
        return Finding("redis", True, "external, from REDIS_URL", program.purpose, needed=needed)
    if program is system.CHROMIUM and not path and shutil.which("chromium-browser"):
        remedy = "Ubuntu's package is a stub for a snap; put google-chrome or a Chromium build on PATH"
    return Finding(program.name, path is not None, path or "not found", program.purpose, remedy, needed)


def _sandbox() -> Finding:
    from loop.errors import SandboxError
    from loop.sandbox import chosen_backend, chosen_name

    enables = "running harnesses and evaluators"
    if chosen_name() == "bwrap" and system.find(system.BUBBLEWRAP) is None:
        remedy = "apt-get install --no-install-recommends bubblewrap"
        return Finding("sandbox", False, "bubblewrap not found", enables, remedy, needed=True)
    try:
        probe = chosen_backend().probe()
    except SandboxError as error:
        return Finding("sandbox", False, str(error), enables, "see docs/security.md", needed=True)
    if not probe.ok:
        return Finding("sandbox", False, probe.detail, enables, "see docs/security.md", needed=True)
    facts = "; ".join(f"{name}: {probe.facts[name]}" for name in ("boundary", "worker", "memory"))
    return Finding("sandbox", True, f"{probe.backend}: {probe.detail} ({facts})", enables, needed=True)


def _other_sandbox() -> Finding:
    """The backend that was not chosen: it is never fallen back to, but could be chosen."""
    from loop.sandbox import BACKENDS, SETTING, chosen_backend, chosen_name

    name = next(name for name in BACKENDS if name != chosen_name())
    probe = chosen_backend(name).probe()
    enables = f"sandboxes by {name}, if {SETTING}={name} is set"
    return Finding(f"sandbox: {name}", probe.ok, probe.detail, enables, "" if probe.ok else "optional")


def _gpu() -> Finding:
    enables = "training and serving models beyond the bundled tiny one"
    program = shutil.which("nvidia-smi")
    if program is None:
        return Finding("gpu", False, "none", enables, "optional; the bundled task trains on the CPU")
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        return Finding("gpu", False, "nvidia-smi lists none", enables, "check the driver")
    return Finding("gpu", True, "; ".join(lines), enables)


def _keys() -> Finding:
    found = [name for name in _KEYS if os.environ.get(name, "").strip()]
    enables = "the language-model agent backends (names only are shown)"
    if not found:
        return Finding(
            "api keys", False, "none", enables, "optional; without a key the `search` backend is used"
        )
    return Finding("api keys", True, ", ".join(found), enables)


def _home() -> Finding:
    root = home.home()
    if os.access(root, os.W_OK):
        kind = "demonstration" if home.is_demo() else "service"
        return Finding("data home", True, f"{root} ({kind})", "keeping anything", needed=True)
    return Finding(
        "data home", False, f"{root} cannot be written", "keeping anything", "set PAWL_HOME", needed=True
    )


def _space() -> Finding:
    root: Path = home.home()
    free = shutil.disk_usage(root).free // 10**6
    ok = free >= FREE_MB_NEEDED
    remedy = "" if ok else "free some space or set PAWL_HOME to a larger disk"
    return Finding("disk", ok, f"{free} MB free", f"runs ({FREE_MB_NEEDED} MB at least)", remedy, needed=True)
