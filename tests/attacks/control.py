"""The control: each attack without our sandbox, to see that it would succeed.

It runs as a plain process inside an outer jail, so that what it does harms nothing: a user without rights, namespaces
of its own, files in memory, bait that was copied in, limits, an end after some seconds.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.attacks import outside
from tests.attacks.catalogue import Attack
from tests.attacks.gateway_judge import passed_on
from tests.attacks.workers import commons, make_readable, public_python

HERE = Path(__file__).parent
PARALLEL = 4
JAIL_S, JAIL_MIB, JAIL_PROCESSES = 20.0, 1536, 400
POLL_S, FROZEN_S = 0.1, 0.5
FILES_BYTES, ADDRESS_BYTES = 200 << 20, 4 << 30
FIRST_USER, USERS = 64100, 900


class JailError(Exception):
    """The jail itself failed; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Control:
    """What an attack achieved without the sandbox, in words; nothing where it did not succeed. Seconds it took."""

    attack: Attack
    achieved: tuple[str, ...]
    seconds: float

    @property
    def as_expected(self) -> bool:
        """Whether an attack that is said to work did."""
        return bool(self.achieved) or not self.attack.works

    def __str__(self) -> str:
        return "; ".join(self.achieved) or "nothing"


def control_all(attacks: Iterable[Attack], parallel: int = PARALLEL) -> Iterator[Control]:
    """The controls of these attacks, as they come. Those on the gateway that prove little are not run."""
    with ThreadPoolExecutor(max_workers=parallel) as pool:
        waiting = [pool.submit(control, attack) for attack in attacks]
        for done in as_completed(waiting):
            yield done.result()


def control(attack: Attack) -> Control:
    """One attack without the sandbox (or, on the gateway, without the gateway)."""
    began = time.monotonic()
    if not attack.needs_gateway:
        achieved = _jailed(attack)
    elif attack.works:
        with tempfile.TemporaryDirectory(prefix="pawl-arena-") as folder:
            achieved = tuple(f"sent {found}" for found in passed_on(attack.name, Path(folder)))
    else:
        achieved = ()
    return Control(attack, achieved, time.monotonic() - began)


def _jailed(attack: Attack) -> tuple[str, ...]:
    with commons() as suite:
        code = suite / "tests" / "attacks"
        code.mkdir(parents=True)
        for name in ("bait.py", "honest.py", "control_inside.py"):
            shutil.copyfile(HERE / name, code / name)
        shutil.copytree(attack.folder, suite / "harnesses" / attack.name)
        make_readable(suite)
        uid = FIRST_USER + secrets.randbelow(USERS)
        inside = [
            public_python(),
            "-B",
            "/suite/tests/attacks/control_inside.py",
            attack.name,
            str(attack.runs),
        ]
        jail = subprocess.Popen(
            [*_as(uid), "prlimit", f"--nproc={JAIL_PROCESSES}", f"--as={ADDRESS_BYTES}", *_bwrap(suite), *inside],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/",
        )  # fmt: skip
        stopped = _guard(jail, uid)
        said, errors = jail.communicate()
    if stopped:
        return (stopped,)
    if jail.returncode == 128 + signal.SIGKILL or (jail.returncode and not errors.strip()):
        return ("killed its judge",)
    if jail.returncode != 0:
        raise JailError(f"The control of {attack.name} failed: {errors.strip()[-500:]}")
    return tuple(json.loads(said))


def _guard(jail: subprocess.Popen[str], uid: int) -> str:
    """Waits for the jail's end and kills it where the attack goes too far; says what the attack did then."""
    deadline, frozen = time.monotonic() + JAIL_S, 0
    while time.monotonic() < deadline:
        try:
            jail.wait(POLL_S)
            return ""
        except subprocess.TimeoutExpired:
            states = [state for state, _ in _processes(uid)]
        frozen = frozen + 1 if set(states) & {"T", "t"} else 0
        much = sum(memory for _, memory in _processes(uid)) > JAIL_MIB
        if much or frozen * POLL_S >= FROZEN_S:
            _end(jail, uid)
            return "filled its jail" if much else "stopped processes that are not its own"
    _end(jail, uid)
    return "held its jail up until that was ended"


def _end(jail: subprocess.Popen[str], uid: int) -> None:
    """Kills the jail with everything inside; what took the jail's first process over, by its uid."""
    jail.kill()
    jail.wait()
    while os.geteuid() == 0 and (left := list(outside.with_uid(range(uid, uid + 1)))):
        for pid, _ in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _processes(uid: int) -> Iterator[tuple[str, float]]:
    """State and resident MiB of each process of a user."""
    for pid, _ in outside.with_uid(range(uid, uid + 1)):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        yield fields[0], int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _as(uid: int) -> list[str]:
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"] if os.geteuid() == 0 else []


def _bwrap(suite: Path) -> list[str]:
    files = ["--size", str(FILES_BYTES)]
    system = ["--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin"]
    for name in ("lib", "lib64", "lib32"):
        if Path("/usr", name).is_dir():
            system += ["--symlink", f"usr/{name}", f"/{name}"]
    if not Path(public_python()).is_relative_to("/usr"):
        system += ["--ro-bind", sys.base_prefix, sys.base_prefix]
    return [
        "bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--setenv", "PATH", "/usr/bin",
        *files, "--tmpfs", "/", *system, "--proc", "/proc", "--dev", "/dev", *files, "--tmpfs", "/dev/shm",
        "--dir", "/tmp", "--ro-bind", str(suite), "/suite", "--chdir", "/", "--",
    ]  # fmt: skip
