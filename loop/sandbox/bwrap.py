"""The bubblewrap backend as the service sees it: writes an order, starts the supervisor, reads its report."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from loop.errors import SandboxError
from loop.sandbox import cgroup
from loop.sandbox.asking import checked_names, checked_targets, exchange, filter_digest
from loop.sandbox.devices import checked_devices, driver_libraries
from loop.sandbox.protocol import Order
from loop.sandbox.remedies import namespaces_remedy
from loop.sandbox.spawner import Spawner
from loop.scratch import scratch
from loop.types import Limits, Outcome, Probe, SandboxResult, SandboxSpec

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
SUPERVISOR = HERE / "supervisor.py"
GRACE_S = 30.0
PROBE_LIMITS = Limits(wall_s=20.0, cpu_s=10)
INSTALL = "install it with: apt install bubblewrap"


_spawner = Spawner(SUPERVISOR)


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
    image = ""

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
            return Probe(
                self.name,
                False,
                f"The sandbox does not work here: {error} What to do: {namespaces_remedy()}.",
            )
        if result.outcome is not Outcome.OK:
            return Probe(self.name, False, f"The sandbox could not run a trivial program: {result.reason}")
        return Probe(self.name, True, "bubblewrap runs with all namespaces and the system-call filter", facts)

    def run(self, spec: SandboxSpec, collect_to: Path) -> SandboxResult:
        """See SandboxBackend.run. Blocks the calling thread; the sandbox ends with this process."""
        order = self._order(spec, collect_to)
        try:
            supervisor = _spawner.start()
        except OSError as error:
            raise SandboxError(f"the sandbox's supervisor failed: {error}") from error
        return exchange(supervisor, order.to_json(), spec.limits.wall_s + GRACE_S)

    def _order(self, spec: SandboxSpec, collect_to: Path) -> Order:
        bwrap, filter_path = shutil.which("bwrap"), _filter()
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
            copies=checked_targets(spec.mounts),
            layers={target: str(path.resolve()) for target, path in layers.items()},
            env=spec.env,
            outputs=checked_names(spec.outputs),
            collect_to=str(collect_to.resolve()),
            limits=spec.limits,
            seccomp=str(filter_path),
            relay=str(HERE / "relay.py"),
            socket=str(spec.socket) if spec.socket else None,
            devices=checked_devices(spec.devices),
            libraries=driver_libraries(spec.devices),
        )

    @property
    def python(self) -> str:
        """The interpreter inside: the one that runs Pawl."""
        return python_inside()

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
            "seccomp": filter_digest(_filter()),
            "host_paths": "hidden" if overlay else "visible in /proc/self/mountinfo",
        }


def _filter() -> Path:
    return HERE / "seccomp" / f"{platform.machine()}.bpf"


def _memory_fact() -> str:
    version = cgroup.available()
    watchdog = "a watchdog looks at the resident size of all processes every 50 ms"
    if version is None:
        return f"soft: {watchdog}, and may be overrun"
    return f"hard: a control group (version {version}); before that, {watchdog}"
