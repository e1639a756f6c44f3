"""The container backend as the service sees it: one container for each run, through podman or docker."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from loop.errors import SandboxError
from loop.sandbox.asking import ask, checked_names, checked_targets, filter_digest
from loop.sandbox.container import engine as engines
from loop.sandbox.container.engine import Engine
from loop.sandbox.container.reap import reap
from loop.sandbox.container.supervisor import REMOVE_S, START_S
from loop.sandbox.devices import checked_devices, driver_libraries
from loop.sandbox.protocol import Order
from loop.sandbox.spawner import ENVIRONMENT
from loop.types import Limits, Outcome, Probe, SandboxResult, SandboxSpec

HERE = Path(__file__).resolve().parent
SUPERVISOR = HERE / "supervisor.py"
SECCOMP = HERE.parent / "seccomp"
GRACE_S = START_S + 2 * REMOVE_S
OTHERWISE = (
    "Set PAWL_SANDBOX_RUNTIME to an OCI runtime that works here (runc, crun), or PAWL_SANDBOX to bwrap."
)
PROBE_LIMITS = Limits(wall_s=20.0, cpu_s=10)
VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"
CLIENT_ENV = (
    "PATH", "HOME", "XDG_RUNTIME_DIR", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY", "CONTAINER_HOST", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF",
)  # fmt: skip


class ContainerBackend:
    """One container for each run; under gVisor where the engine has it."""

    name = "container"

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment` holds the PAWL_SANDBOX_* settings and what the engine's client needs."""
        self._environment = dict(environment)
        self._engine: Engine | None = None
        self._probed: Probe | None = None

    @property
    def python(self) -> str:
        """The interpreter inside: the image's own."""
        return self._environment.get(engines.PYTHON, "").strip() or engines.DEFAULT_PYTHON

    @property
    def image(self) -> str:
        """The image, by digest; '' where none is set."""
        return self._environment.get(engines.IMAGE, "").strip()

    def probe(self) -> Probe:
        """Removes leftovers and runs Python in a container; a probe that succeeded is not repeated."""
        if self._probed is None or not self._probed.ok:
            self._probed = self._probe()
        return self._probed

    def _probe(self) -> Probe:
        try:
            engine = self._find()
            removed = reap(engine)
            with tempfile.TemporaryDirectory(prefix="sbx-", dir=engine.stage) as folder:
                spec = SandboxSpec((engine.python, "-I", "-c", VERSION), (), (), PROBE_LIMITS)
                result = self.run(spec, Path(folder))
            facts = self._facts(engine)
        except SandboxError as error:
            said = f"The container sandbox does not work here: {error}"
            return Probe(
                self.name, False, said if "PAWL_SANDBOX" in said else f"{said.rstrip('.')}. {OTHERWISE}"
            )
        if result.outcome is not Outcome.OK:
            said = (result.log_tail.strip().splitlines() or [result.reason])[-1]
            return Probe(self.name, False, f"The image's Python {engine.python} did not run: {said}")
        ours = "{}.{}".format(*sys.version_info[:2])
        theirs = result.log_tail.strip()[:20]
        if theirs != ours:
            return Probe(
                self.name,
                False,
                f"The image's Python is {theirs} and the service's {ours}; use an image with {ours}.",
            )
        detail = f"one container for each run, by {engine.kind}"
        if removed:
            detail += f"; {len(removed)} containers of dead workers were removed"
        return Probe(self.name, True, detail, facts)

    def run(self, spec: SandboxSpec, collect_to: Path) -> SandboxResult:
        """See SandboxBackend.run. Blocks the calling thread."""
        engine = self._find()
        order = json.dumps({"order": asdict(self._order(spec, collect_to)), "engine": asdict(engine)})
        return ask(
            SUPERVISOR, order.encode() + b"\n", spec.limits.wall_s + GRACE_S, self._client_environment()
        )

    def _find(self) -> Engine:
        """The engine with its runtime settled: gVisor where it is listed and nothing else was asked for."""
        if self._engine is None:
            engine = engines.detect(self._environment)
            if not engine.runtime and "runsc" in self._words(engines.runtimes_argv(engine)).split():
                engine = engines.with_runtime(engine, "runsc")
            self._engine = engine
        return self._engine

    def _words(self, argv: list[str]) -> str:
        """What the engine's client prints. Raises SandboxError with its own words where it fails."""
        try:
            done = subprocess.run(
                argv,
                capture_output=True,
                text=True,
                timeout=START_S,
                check=False,
                env=self._client_environment(),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SandboxError(f"{argv[0]} does not answer: {error}.") from None
        if done.returncode != 0:
            said = next(reversed(done.stderr.strip().splitlines()), "it said nothing")
            raise SandboxError(f"{Path(argv[0]).name} does not answer: {said}")
        return done.stdout.strip()

    def _client_environment(self) -> dict[str, str]:
        kept = {name: self._environment[name] for name in CLIENT_ENV if name in self._environment}
        return {**ENVIRONMENT, **kept}

    def _order(self, spec: SandboxSpec, collect_to: Path) -> Order:
        profile = SECCOMP / f"container-{platform.machine()}.json"
        if not profile.is_file():
            raise SandboxError(
                f"There is no system-call filter for {platform.machine()}; use x86_64 or aarch64."
            )
        return Order(
            parent=os.getpid(),
            argv=spec.argv,
            python=self.python,
            copies=checked_targets(spec.mounts),
            layers={"/venv": str(spec.runtime.resolve())} if spec.runtime else {},
            env=spec.env,
            outputs=checked_names(spec.outputs),
            collect_to=str(collect_to.resolve()),
            limits=spec.limits,
            seccomp=str(profile),
            relay="",
            socket=str(spec.socket) if spec.socket else None,
            devices=checked_devices(spec.devices),
            libraries=driver_libraries(spec.devices),
        )

    def _facts(self, engine: Engine) -> dict[str, str]:
        own = (
            "a kernel of its own (gVisor)"
            if engine.gvisor
            else "shared kernel: a container and a system-call filter"
        )
        root = os.geteuid() == 0
        return {
            "version": f"{engine.kind} {self._words(engines.version_argv(engine))}",
            "runtime": engine.runtime or "the engine's default",
            "image": engine.image,
            "kernel": platform.release(),
            "boundary": own if engine.gvisor else f"{own}, no protection from kernel exploits",
            "worker": "root, one uid per run" if root else "ordinary user, uid 1000 inside",
            "memory": "hard: the container's control group, no swap",
            "seccomp": filter_digest(SECCOMP / f"container-{platform.machine()}.json"),
            "host_paths": "hidden" if engine.gvisor else "the runtime's folder shows in /proc/self/mountinfo",
        }
