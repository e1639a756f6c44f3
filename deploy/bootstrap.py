"""Makes `.venv`, installs what the command needs from pyproject.toml and re-executes inside it.

Standard library only. When nothing is to be done this reads two small files. Ordinary pip configuration (index,
find-links, proxies) is left to pip.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

from deploy import system
from deploy.system import SetupError, say

REPO = Path(__file__).resolve().parent.parent
VENV = REPO / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "pawl-stamp.json"
INSTALLING = VENV / "pawl-installing"
EXTRAS = ("train", "dev")
SIZES_MB = {"core": 510, "train": 1330, "dev": 300}  # on disk, with a CPU build of torch

_SELDOM_IMPORTED = (
    r"/tests?/|/torch/testing/|/transformers/models/(?!auto/)\w+/"
    r"|/site-packages/(mypyc?|networkx|pip|setuptools|sqlalchemy|statsmodels)/"
)
_ALSO_TRAIN_IF_INSTALLED = frozenset({"campaign", "serve", "worker"})
_BROWSER_TESTS = REPO / "tests" / "browser"
_WITH_SYSTEM = {
    "demo": system.RUNTIME,
    "serve": system.RUNTIME,
    "setup": system.RUNTIME,
    "campaign": system.RUNTIME,
    "worker": (system.BUBBLEWRAP, system.GIT),
    "verify": system.RUNTIME,
    "serve_live": (system.BUBBLEWRAP, system.GIT),
    "rollout": (system.BUBBLEWRAP,),
    "preflight": (system.BUBBLEWRAP,),
    "lint": (system.GIT,),
}


def ensure(argv: list[str]) -> None:
    """Return when this process runs in a complete environment for `argv`; otherwise re-execute in one.

    `PAWL_BOOTSTRAP=0` leaves everything to whoever made the environment (container images). Ends the process
    with one sentence when the environment cannot be prepared.
    """
    if os.environ.get("PAWL_BOOTSTRAP") == "0":
        return
    try:
        system.ensure(programs_for(argv[1:]))
        stamp = read_stamp()
        wanted = wanted_digests(extras_for(argv[1:], installed=frozenset(stamp)))
        if not is_complete(stamp, wanted):
            _prepare(wanted)
    except SetupError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped while preparing the environment; run the same command again to go on.")
    if Path(sys.prefix).resolve() != VENV.resolve():
        os.execv(PYTHON, [str(PYTHON), *argv])


def extras_for(args: list[str], *, installed: frozenset[str]) -> tuple[str, ...]:
    """What the command line needs: "core", then extras in the order of EXTRAS.

    Raises SetupError for an extra that does not exist.
    """
    command = args[0] if args else ""
    chosen = {"core"}
    if command in ("test", "lint"):
        chosen.update(EXTRAS)
    elif command == "demo" and "--harness-only" not in args and not {"-h", "--help"} & set(args):
        chosen.add("train")
    elif command == "setup":
        chosen.update(_asked_extras(args[1:]))
    elif command in _ALSO_TRAIN_IF_INSTALLED:
        chosen.update({"train"} & installed)
    return tuple(name for name in ("core", *EXTRAS) if name in chosen)


def programs_for(args: list[str]) -> tuple[system.Program, ...]:
    """The system programs that the command line needs; none to show help, fewer for a part of the tests."""
    if not args or {"-h", "--help"} & set(args):
        return ()
    if args[0] == "test":
        return _programs_for_tests(args[1:])
    return _WITH_SYSTEM.get(args[0], ())


def _programs_for_tests(args: list[str]) -> tuple[system.Program, ...]:
    """All for all tests; of named ones the browser only where one of the paths holds or is a browser test."""
    paths = [Path(arg.partition("::")[0]) for arg in args if not arg.startswith("-")]
    if "--fast" in args:
        return system.RUNTIME
    if not paths:
        return system.ALL
    named = [(REPO / path).resolve() for path in paths]
    if any(path.is_relative_to(_BROWSER_TESTS) or _BROWSER_TESTS.is_relative_to(path) for path in named):
        return (*system.RUNTIME, system.CHROMIUM)
    return system.RUNTIME


def wanted_digests(extras: tuple[str, ...]) -> dict[str, str]:
    """For each of the names, a digest over its requirements and this Python's minor version."""
    return {
        name: hashlib.sha256(
            "\n".join([f"{sys.version_info[1]}", *sorted(requirements(name))]).encode()
        ).hexdigest()
        for name in extras
    }


def requirements(name: str) -> list[str]:
    """pyproject.toml's requirements for "core" or one of the extras."""
    with (REPO / "pyproject.toml").open("rb") as handle:
        project = tomllib.load(handle)["project"]
    found: list[str] = project["dependencies"] if name == "core" else project["optional-dependencies"][name]
    return found


def read_stamp() -> dict[str, str]:
    """What is installed: name -> digest; empty when unknown or when an installation was interrupted."""
    if INSTALLING.exists() or not os.access(PYTHON, os.X_OK):
        return {}
    try:
        found = json.loads(STAMP.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def is_complete(stamp: dict[str, str], wanted: dict[str, str]) -> bool:
    """Whether every wanted digest is the installed one."""
    return all(stamp.get(name) == digest for name, digest in wanted.items())


def _asked_extras(args: list[str]) -> set[str]:
    asked = set()
    for position, arg in enumerate(args):
        if arg == "--extra":
            asked.add(args[position + 1] if position + 1 < len(args) else "")
        elif arg.startswith("--extra="):
            asked.add(arg.partition("=")[2])
    unknown = asked - set(EXTRAS)
    if unknown:
        raise SetupError(
            f"There is no extra {sorted(unknown)[0]!r} to set up; choose from: {', '.join(EXTRAS)}."
        )
    return asked


def _prepare(wanted: dict[str, str]) -> None:
    """Install under a lock on the repository's folder, so that two commands started at once take turns."""
    folder = os.open(REPO, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another command is preparing the environment; waiting for it.")
            fcntl.flock(folder, fcntl.LOCK_EX)
        stamp = read_stamp()
        if not is_complete(stamp, wanted):
            _install(stamp, wanted)
    finally:
        os.close(folder)


def _install(stamp: dict[str, str], wanted: dict[str, str]) -> None:
    if not os.access(PYTHON, os.X_OK):
        say(f"Making the environment {VENV}")
        _call([sys.executable, "-m", "venv", "--clear", "--without-pip", str(VENV)])
    elif INSTALLING.exists():
        say("An earlier installation was interrupted; repairing it.")
        _drop_half_installed(VENV)
    pip = _pip_command()
    lists = {name: requirements(name) for name in wanted if stamp.get(name) != wanted[name]}
    everything = [line for lines in lists.values() for line in lines]
    if not _is_satisfied(pip, everything):
        _announce(list(lists))
        INSTALLING.touch()
        _call(
            [*pip, "install", "--disable-pip-version-check", "--no-compile", *everything],
            "check the network and pip's lines above",
        )
        _compile()
        INSTALLING.unlink()
    partial = STAMP.with_suffix(".new")
    partial.write_text(json.dumps({**stamp, **wanted}), encoding="utf-8")
    partial.replace(STAMP)


def _compile() -> None:
    """Compile what was installed, on all processors where pip takes one, but what hardly any process imports.

    What does not compile is left: whoever imports it is told.
    """
    say("Compiling what was installed")
    command = [str(PYTHON), "-m", "compileall", "-qq", "-j", "0", "-x", _SELDOM_IMPORTED, str(VENV / "lib")]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=False)


def _announce(names: list[str]) -> None:
    size = sum(SIZES_MB[name] for name in names)
    free = shutil.disk_usage(VENV).free // 10**6
    if free < size:
        raise SetupError(
            f"Installing {' + '.join(names)} needs about {size} MB in {VENV}; only {free} MB are free."
        )
    say(f"Installing {' + '.join(names)} into {VENV}: about {size} MB on disk, once.")
    if "train" in names:
        say(
            "  torch's default build for Linux carries CUDA and takes several GB instead of 0.8; pip's own\n"
            "  configuration (find-links, extra-index-url) can point at a CPU build.\n"
            "  `demo --harness-only` needs no torch."
        )


def _pip_command() -> list[str]:
    """The command line of a pip for the environment: its own, or this Python's aimed at it."""
    if list(VENV.glob("lib/python3.*/site-packages/pip/__main__.py")):
        return [str(PYTHON), "-m", "pip"]
    host = sys.executable
    if Path(sys.prefix).resolve() == VENV.resolve():
        host = getattr(sys, "_base_executable", host)
    elif find_spec("pip") is not None:
        return [host, "-m", "pip", "--python", str(PYTHON)]
    if _succeeds([host, "-m", "pip", "--version"]):
        return [host, "-m", "pip", "--python", str(PYTHON)]
    if _succeeds([str(PYTHON), "-m", "ensurepip", "--default-pip"]):
        return [str(PYTHON), "-m", "pip"]
    raise SetupError(
        "Pawl needs pip to set itself up; install it, for example with: apt-get install python3-pip"
    )


def _is_satisfied(pip: list[str], wanted: list[str]) -> bool:
    """Whether the environment already has everything (asked of pip, without any index)."""
    done = subprocess.run(
        [
            *pip,
            "install",
            "--dry-run",
            "--no-index",
            "--quiet",
            "--disable-pip-version-check",
            "--report",
            "-",
            *wanted,
        ],
        env={key: value for key, value in os.environ.items() if key != "PIP_FIND_LINKS"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode != 0:
        return False
    try:
        return json.loads(done.stdout)["install"] == []
    except (json.JSONDecodeError, KeyError):
        return False


def _drop_half_installed(venv: Path) -> None:
    """Forget packages whose files did not all arrive, so that pip installs them again."""
    for site in venv.glob("lib/python3.*/site-packages"):
        for info in site.glob("*.dist-info"):
            if not _is_whole(site, info):
                shutil.rmtree(info)
        for leftover in site.glob("~*"):
            shutil.rmtree(leftover, ignore_errors=True)


def _is_whole(site: Path, info: Path) -> bool:
    try:
        with (info / "RECORD").open(encoding="utf-8", newline="") as handle:
            names = [row[0] for row in csv.reader(handle) if row]
    except FileNotFoundError:
        return False
    return (info / "METADATA").exists() and all(
        os.path.exists(os.path.join(site, name)) for name in names if not name.endswith(".pyc")
    )


def _succeeds(command: list[str]) -> bool:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    return done.returncode == 0


def _call(command: list[str], remedy: str = "see the lines above") -> None:
    """Run a step of the installation with its progress on stderr. Raises SetupError when it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if done.returncode != 0:
        step = " ".join(command[1:5])
        raise SetupError(
            f"Preparing the environment failed at `{step}` (exit status {done.returncode}); {remedy}."
        )
