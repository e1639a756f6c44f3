"""The container engine's command lines: what a container may do and see. Pure, but for `detect`."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from loop.errors import SandboxError
from loop.sandbox.watch import CORE_BYTES, SCRATCH_INODES
from loop.types import Limits

ENGINE, IMAGE, RUNTIME, PYTHON, CPUS, STAGE = (
    f"PAWL_SANDBOX_{name}" for name in ("ENGINE", "IMAGE", "RUNTIME", "PYTHON", "CPUS", "STAGE")
)
KNOWN = ("podman", "docker")
PINNED = re.compile(r"([^@\s]+@)?sha256:[0-9a-f]{64}")
DEFAULT_PYTHON = "/usr/local/bin/python3.11"
LABEL = "pawl.sandbox"
INIT_MIB = 48  # the first process's own memory, on top of the program's
INIT_TASKS = 1
MIB = 1 << 20
INSTALL = "install one with: apt install podman runc"


@dataclass(frozen=True, slots=True)
class Engine:
    """One way to start containers: `path` of the client, its `kind`, the OCI runtime ('' for the engine's own), the
    pinned image, the Python inside it, processors a run may use, and where mounts are put for the engine to see."""

    path: str
    kind: str
    image: str
    runtime: str = ""
    python: str = DEFAULT_PYTHON
    cpus: float = 2.0
    stage: str = "/tmp"

    @property
    def gvisor(self) -> bool:
        """Whether containers have a kernel of their own."""
        return Path(self.runtime).name.startswith("runsc")


@dataclass(frozen=True, slots=True)
class Box:
    """One container: its name, the owner that a leftover is recognised by, the uid inside, the seccomp profile."""

    name: str
    owner: str
    uid: int
    seccomp: str


def detect(environment: Mapping[str, str]) -> Engine:
    """The engine that the settings name, or the first that is installed. Raises SandboxError with what to do."""
    named = environment.get(ENGINE, "").strip()
    found = [shutil.which(name) for name in ([named] if named else KNOWN)]
    path = next((path for path in found if path), None)
    if path is None:
        raise SandboxError(
            f"The container engine {named} is not installed; install it or change {ENGINE}."
            if named
            else f"No container engine (podman or docker) is installed, and nothing runs without it; {INSTALL}."
        )
    image = environment.get(IMAGE, "").strip()
    if not PINNED.fullmatch(image):
        raise SandboxError(
            f"{IMAGE} must name the image to run in by its digest (name@sha256:... or sha256:...); "
            "python3 manage.py sandbox_image makes one from this machine and prints it."
        )
    try:
        cpus = float(environment.get(CPUS, "").strip() or min(2, os.cpu_count() or 1))
    except ValueError:
        raise SandboxError(f"{CPUS} must be a number of processors, such as 2 or 0.5.") from None
    return Engine(
        path=path,
        kind="podman" if "podman" in Path(path).name else "docker",
        image=image,
        runtime=environment.get(RUNTIME, "").strip(),
        python=environment.get(PYTHON, "").strip() or DEFAULT_PYTHON,
        cpus=cpus,
        stage=environment.get(STAGE, "").strip() or "/tmp",
    )


def with_runtime(engine: Engine, runtime: str) -> Engine:
    """The same engine with another OCI runtime."""
    return replace(engine, runtime=runtime)


def run_argv(
    engine: Engine, box: Box, limits: Limits, staged: Mapping[str, str], devices: tuple[str, ...] = ()
) -> list[str]:
    """The client's argv that starts one container and stays with it; its stdin is the container's lifeline.

    `staged` maps paths inside to host paths, all bound read-only; the program's argv and environment are no part
    of it (the first process gets them on stdin).
    """
    uid = f"{box.uid}:{box.uid}"
    argv = [*_client(engine), "run", "--rm", "--interactive", "--pull", "never", "--name", box.name]
    argv += ["--label", f"{LABEL}={box.owner}", *_engine_options(engine)]
    argv += ["--network", "none", "--read-only", "--cap-drop", "ALL", "--ipc", "private"]
    argv += ["--security-opt", "no-new-privileges", "--security-opt", f"seccomp={box.seccomp}"]
    argv += ["--user", uid, "--hostname", "sbx", "--workdir", "/scratch", "--log-driver", "none"]
    argv += ["--stop-timeout", "0", *_limit_options(engine, limits)]
    argv += ["--tmpfs", f"/scratch:{_scratch(engine, limits)}", *_out(engine, box, limits)]
    for target, source in sorted(staged.items()):
        argv += ["--mount", f"type=bind,source={source},target={target},readonly"]
    for device in devices:
        argv += ["--device", f"{device}:{device}:rw"]
    return [
        *argv,
        "--entrypoint",
        engine.python,
        engine.image,
        "-I",
        "-S",
        "/run/pawl/loop/sandbox/container/init.py",
    ]


def prepare_argvs(engine: Engine, box: Box, limits: Limits) -> list[list[str]]:
    """What must run before: podman knows no inode limit for a tmpfs, but its volumes take the kernel's own options."""
    if engine.kind != "podman":
        return []
    options = (
        f"nr_blocks={limits.out_mib * MIB // 4096},nr_inodes={limits.out_files + 1},"
        f"nosuid,nodev,noexec,uid={box.uid},gid={box.uid},mode=0700"
    )
    argv = [*_client(engine), "volume", "create", "--label", f"{LABEL}={box.owner}", "--opt", "type=tmpfs"]
    return [[*argv, "--opt", "device=tmpfs", "--opt", f"o={options}", _volume(box.name)]]


def remove_argvs(engine: Engine, name: str) -> list[list[str]]:
    """What kills a container, whatever it does, and leaves nothing of it; all may be run again."""
    argvs = [[*_client(engine), "rm", "--force", "--volumes", name]]
    if engine.kind == "podman":
        argvs += [[*_client(engine), "volume", "rm", "--force", _volume(name)]]
    return argvs


def list_argv(engine: Engine) -> list[str]:
    """Prints `name owner` for each container of ours, running or not."""
    form = (
        '{{.Names}} {{index .Labels "pawl.sandbox"}}'
        if engine.kind == "podman"
        else '{{.Names}} {{.Label "pawl.sandbox"}}'
    )
    return [*_client(engine), "ps", "--all", "--filter", f"label={LABEL}", "--format", form]


def version_argv(engine: Engine) -> list[str]:
    """Prints the engine's version; docker's needs the daemon."""
    form = "{{.Version.Version}}" if engine.kind == "podman" else "{{.ServerVersion}}"
    return [*_client(engine), "info", "--format", form]


def runtimes_argv(engine: Engine) -> list[str]:
    """Prints the OCI runtimes that the engine lists."""
    form = (
        "{{.Host.OCIRuntime.Name}}"
        if engine.kind == "podman"
        else "{{range $name, $_ := .Runtimes}}{{$name}} {{end}}"
    )
    return [*_client(engine), "info", "--format", form]


def _client(engine: Engine) -> list[str]:
    """Podman takes the runtime before its verb."""
    if engine.kind == "podman":
        return [
            engine.path,
            "--log-level",
            "error",
            *(["--runtime", engine.runtime] if engine.runtime else []),
        ]
    return [engine.path]


def _engine_options(engine: Engine) -> list[str]:
    if engine.kind == "podman":
        return ["--read-only-tmpfs=false", "--http-proxy=false", "--no-hosts", "--sdnotify", "ignore"]
    return ["--runtime", engine.runtime] if engine.runtime else []


def _limit_options(engine: Engine, limits: Limits) -> list[str]:
    """Memory counts what lies in the memory file systems too; swap beyond it there is none."""
    files = limits.scratch_mib + limits.shm_mib + limits.out_mib
    memory = f"{limits.memory_mib + files + INIT_MIB}m"
    tasks = limits.processes + INIT_TASKS
    options = ["--memory", memory, "--memory-swap", memory, "--pids-limit", str(tasks)]
    options += ["--cpus", f"{engine.cpus:g}", "--shm-size", f"{limits.shm_mib}m"]
    options += [
        "--ulimit",
        f"nofile={limits.open_files}:{limits.open_files}",
        "--ulimit",
        f"core={CORE_BYTES}:{CORE_BYTES}",
    ]
    # Podman would raise this one to its own default, which a worker without CAP_SYS_RESOURCE may not.
    return [*options, "--ulimit", "nproc=4096:4096"]


def _scratch(engine: Engine, limits: Limits) -> str:
    options = f"rw,nosuid,nodev,exec,size={limits.scratch_mib}m,mode=1777"
    # Podman would copy the image's folder into it, its mode too; it knows no inode limit (the first process looks).
    return f"{options},{'notmpcopyup' if engine.kind == 'podman' else f'nr_inodes={SCRATCH_INODES}'}"


def _out(engine: Engine, box: Box, limits: Limits) -> list[str]:
    if engine.kind == "podman":
        return ["--volume", f"{_volume(box.name)}:/out:rw,nocopy,noexec,nosuid,nodev"]
    options = f"rw,nosuid,nodev,noexec,size={limits.out_mib}m,nr_inodes={limits.out_files + 1}"
    return ["--tmpfs", f"/out:{options},mode=0700,uid={box.uid},gid={box.uid}"]


def _volume(name: str) -> str:
    return f"{name}-out"
