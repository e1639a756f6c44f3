"""Runtimes: the locked packages that a harness or an evaluator runs on, built once and shared read-only.

A runtime is a virtual environment that works only where the sandbox mounts it, at /venv. It never holds the
service's own packages, and its digest is part of what is verified and approved.
"""

from __future__ import annotations

import compileall
import fcntl
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from governance.digests import json_digest, sha256_hex
from loop.errors import TaskError
from loop.sandbox import chosen_backend

LAYOUT = 1
MANIFEST = "runtime.json"
PYTHON_FOLDER = f"python{sys.version_info.major}.{sys.version_info.minor}"
SITE_PACKAGES = Path("lib") / PYTHON_FOLDER / "site-packages"
INSTALL_TIMEOUT_S = 1800
# Only exact versions from an index: pip would build, and so run, what comes from a path, an address or git.
LOCKED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._-]+\])?\s*==\s*[A-Za-z0-9.+!_-]+(\s*;[^#]*)?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Runtime:
    """A built runtime: its folder, and the digest of its requirements and its Python."""

    path: Path
    digest: str


def runtime_digest(requirements: Path | None) -> str:
    """The digest (hex) that names the runtime of a requirements file; None is the empty runtime.

    It depends on the interpreter that the chosen sandbox has inside: where that is an image's own, on the image.
    """
    text = requirements.read_bytes() if requirements else b""
    backend = chosen_backend()
    named = {
        "layout": LAYOUT,
        "requirements": sha256_hex(text),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "interpreter": backend.python,
    }
    return json_digest(named | ({"image": backend.image} if backend.image else {}))


def ensure_runtime(requirements: Path | None, store: Path) -> Runtime:
    """The runtime of a requirements file, built below `store` if it is not there yet.

    Only ready-made wheels are installed: nothing of a package runs on the host. Safe when two processes ask at
    once. Raises TaskError where the packages cannot be installed.
    """
    digest = runtime_digest(requirements)
    target = store / digest
    if not (target / MANIFEST).is_file():
        store.mkdir(parents=True, exist_ok=True)
        with _locked(store / f"{digest}.lock"):
            if not (target / MANIFEST).is_file():
                _build(requirements, digest, target)
    return Runtime(target, digest)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(requirements: Path | None, digest: str, target: Path) -> None:
    building = Path(tempfile.mkdtemp(prefix="building-", dir=target.parent))
    try:
        site = building / SITE_PACKAGES
        site.mkdir(parents=True)
        (building / "bin").mkdir()
        inside = chosen_backend().python
        for name in ("python", "python3", PYTHON_FOLDER):
            (building / "bin" / name).symlink_to(inside)
        home = Path(inside).parent
        (building / "pyvenv.cfg").write_text(
            f"home = {home}\ninclude-system-site-packages = false\nversion = {platform.python_version()}\n"
        )
        if requirements is not None and requirements.read_text(encoding="utf-8").strip():
            _install(requirements, site)
        manifest = {"digest": digest, "python": platform.python_version(), "packages": _packages(site)}
        (building / MANIFEST).write_text(json.dumps(manifest, indent=1))
        _make_readable(building)
        shutil.rmtree(target, ignore_errors=True)
        building.rename(target)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def check_requirements(requirements: Path) -> None:
    """Raises TaskError unless every line is `name==version`, with an optional marker and hashes."""
    text = requirements.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        rest = HASH.sub("", line.split("#")[0]).strip()
        if rest and not LOCKED.fullmatch(rest):
            raise TaskError(f"{requirements}: {rest[:80]!r} is not a locked package; write name==version.")


def _install(requirements: Path, site: Path) -> None:
    check_requirements(requirements)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-compile"]
    command += [
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
        "--target",
        str(site),
        "-r",
        str(requirements),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise TaskError(
            f"{requirements} was not installed within {INSTALL_TIMEOUT_S} s; try again."
        ) from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"pip ended with exit status {done.returncode}"]
        words = [line for line in lines if line.startswith("ERROR")] or lines
        raise TaskError(f"The packages of {requirements} cannot be installed: {words[-1]}")
    compileall.compile_dir(site, quiet=2, ddir=f"/venv/{SITE_PACKAGES}")


def _packages(site: Path) -> list[str]:
    return sorted(path.name.removesuffix(".dist-info") for path in site.glob("*.dist-info"))


def _make_readable(folder: Path) -> None:
    """Every uid may read a runtime, whatever the umask: the sandbox gives the service's uid away."""
    folder.chmod(0o755)
    for base, names, files in os.walk(folder):
        for path in (Path(base) / name for name in names + files):
            if not path.is_symlink():
                executable = path.is_dir() or path.stat().st_mode & 0o100
                path.chmod(0o755 if executable else 0o644)
