"""The bubblewrap backend as the service sees it: writes an order, starts the supervisor, reads its report."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path

from loop.errors import SandboxError
from loop.sandbox import cgroup
from loop.sandbox.protocol import Order, Report
from loop.scratch import scratch
from loop.types import Limits, Mount, Outcome, Probe, SandboxResult, SandboxSpec

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
SUPERVISOR = HERE / "supervisor.py"
GRACE_S = 30.0
PROBE_LIMITS = Limits(wall_s=20.0, cpu_s=10)
RESERVED = frozenset({
    "out", "scratch", "tmp", "proc", "dev", "usr", "bin", "lib", "lib32", "lib64", "etc", "run", "venv", "python",
})  # fmt: skip
TARGET = re.compile(r"/([A-Za-z0-9_]+)(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
INSTALL = "install it with: apt install bubblewrap"
USERNS_REMEDY = (
    "if this is Ubuntu 23.10 or later, give /usr/bin/bwrap an AppArmor profile with the rule 'userns,'; "
    "inside Docker or Kubernetes run one container per rollout instead"
)


def python_prefix() -> Path | None:
    """Where the interpreter that runs Pawl is installed, or None when it lies under /usr, which is always shown."""
    prefix = Path(sys.base_prefix).resolve()
    return None if prefix.is_relative_to("/usr") else prefix


def python_inside() -> str:
    """The path, inside every sandbox, of the interpreter that runs Pawl."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return f"/python/bin/{name}" if python_prefix() else f"{sys.base_prefix}/bin/{name}"


class BwrapBackend:
    """Bubblewrap with seccomp, resource limits and a supervisor process for each run."""

    name = "bwrap"

    def __init__(self) -> None:
        self._probed: Probe | None = None

    def probe(self) -> Probe:
        """Runs `true` with everything a real run has; a probe that succeeded is not repeated."""
        if self._probed is None or not self._probed.ok:
            self._probed = self._probe()
        return self._probed

    def _probe(self) -> Probe:
        if shutil.which("bwrap") is None:
            return Probe(
                self.name, False, f"bubblewrap is not installed, and nothing runs without it; {INSTALL}."
            )
        try:
            facts = self._facts()
            with scratch("probe") as folder:
                result = self.run(SandboxSpec(("/usr/bin/true",), (), (), PROBE_LIMITS), folder)
        except SandboxError as error:
            return Probe(self.name, False, f"The sandbox does not work here: {error} ({USERNS_REMEDY}).")
        if result.outcome is not Outcome.OK:
            return Probe(self.name, False, f"The sandbox could not run a trivial program: {result.reason}")
        return Probe(self.name, True, "bubblewrap runs with all namespaces and the system-call filter", facts)

    def run(self, spec: SandboxSpec, collect_to: Path) -> SandboxResult:
        """See SandboxBackend.run. Blocks the calling thread; the sandbox dies with that thread."""
        report = self._ask(self._order(spec, collect_to), spec.limits.wall_s + GRACE_S)
        if report.error:
            raise SandboxError(report.error)
        return report.result()

    def _order(self, spec: SandboxSpec, collect_to: Path) -> Order:
        bwrap, filter_path = shutil.which("bwrap"), HERE / "seccomp" / f"{platform.machine()}.bpf"
        if bwrap is None:
            raise SandboxError(f"bubblewrap is not installed, and nothing runs without it; {INSTALL}.")
        if not filter_path.is_file():
            raise SandboxError(
                f"There is no system-call filter for {platform.machine()}; use x86_64 or aarch64."
            )
        for path in (REPOSITORY, collect_to.resolve()):
            if path.is_relative_to("/usr"):
                raise SandboxError(
                    f"{path} lies under /usr, which every sandbox can read; move it elsewhere."
                )
        layers = {"/venv": spec.runtime} if spec.runtime else {}
        if prefix := python_prefix():
            layers["/python"] = prefix
        return Order(
            parent=os.getpid(),
            bwrap=bwrap,
            argv=spec.argv,
            python=python_inside(),
            copies=_checked_targets(spec.mounts),
            layers={target: str(path.resolve()) for target, path in layers.items()},
            env=spec.env,
            outputs=_checked_names(spec.outputs),
            collect_to=str(collect_to.resolve()),
            limits=spec.limits,
            seccomp=str(filter_path),
            relay=str(HERE / "relay.py"),
            socket=str(spec.socket) if spec.socket else None,
        )

    def _ask(self, order: Order, timeout_s: float) -> Report:
        """Runs the supervisor. Its stdin stays open until it has answered: closing it means 'stop'."""
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SUPERVISOR)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"LANG": "C.UTF-8"},
            cwd="/",
            start_new_session=True,
        )
        try:
            return _exchange(process, order, timeout_s)
        finally:
            _end(process)

    def _facts(self) -> dict[str, str]:
        if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
            raise SandboxError("this kernel was built without CONFIG_PROC_CHILDREN, which the limits need")
        version = subprocess.run(["bwrap", "--version"], capture_output=True, text=True, check=False).stdout
        overlay = "overlay" in Path("/proc/filesystems").read_text()
        return {
            "version": version.strip(),
            "kernel": platform.release(),
            "boundary": "shared kernel: namespaces and a system-call filter, no protection from kernel exploits",
            "worker": "root, one uid per run" if os.geteuid() == 0 else "ordinary user, user namespace",
            "memory": _memory_fact(),
            "host_paths": "hidden" if overlay else "visible in /proc/self/mountinfo",
        }


def _memory_fact() -> str:
    version = cgroup.available()
    watchdog = "a watchdog looks at the resident size of all processes every 50 ms"
    if version is None:
        return f"soft: {watchdog}, and may be overrun"
    return f"hard: a control group (version {version}); before that, {watchdog}"


def _exchange(process: subprocess.Popen[bytes], order: Order, timeout_s: float) -> Report:
    assert process.stdin and process.stdout and process.stderr
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(order.to_json())
        process.stdin.flush()
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    if not poll.poll(timeout_s * 1000):
        raise SandboxError(f"the sandbox's supervisor gave no report within {timeout_s:g} s and was stopped")
    try:
        return Report.from_json(process.stdout.readline())
    except (ValueError, TypeError):
        process.wait(GRACE_S)
        words = process.stderr.read().decode(errors="replace").strip().splitlines()
        raise SandboxError(
            f"the sandbox's supervisor failed: {words[-1] if words else 'no report'}"
        ) from None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Closing stdin makes a supervisor that is still at work kill everything and end by itself."""
    assert process.stdin and process.stdout and process.stderr
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
    process.stderr.close()


def _checked_targets(mounts: tuple[Mount, ...]) -> dict[str, str]:
    targets: dict[str, str] = {}
    for mount in mounts:
        shape = TARGET.fullmatch(mount.target)
        if shape is None or shape[1] in RESERVED or mount.target in targets:
            raise SandboxError(f"{mount.target} cannot be a mount target inside the sandbox")
        targets[mount.target] = str(mount.source.resolve())
    return targets


def _checked_names(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name in {"", ".", ".."} or "/" in name or "\0" in name:
            raise SandboxError(f"{name!r} is not a plain file name for an output")
    return names
