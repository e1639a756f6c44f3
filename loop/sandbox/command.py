"""The bubblewrap command line: what a sandboxed program sees, and with which rights. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from loop.sandbox.devices import INSIDE
from loop.sandbox.protocol import Order

STARTED_FD, STATUS_FD, SECCOMP_FD = 7, 8, 9
RELAY_PORT = 8787
SANDBOX_UID = "1000"
MIB = 1 << 20

# The network namespace is the one that bubblewrap is started in: the launcher makes it.
NAMESPACES = (
    "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup",
    "--disable-userns", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "sbx", "--clearenv",
)  # fmt: skip
BASE_ENV = {
    "HOME": "/scratch",
    "TMPDIR": "/scratch",
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONNOUSERSITE": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
}
# The first byte on STARTED_FD says that the sandbox was set up; the program itself never gets that descriptor.
# The shell sets the limit on processes, because it must be set inside the user namespace: dash's -p is bash's -u.
NPROC = "ulimit -p {count} 2>/dev/null || ulimit -u {count} || exit 125; "
START = f'printf s >&{STARTED_FD}; exec {STARTED_FD}>&- {STATUS_FD}>&- {SECCOMP_FD}>&-; exec "$@"'
START_WITH_RELAY = (
    f"$RELAY_PYTHON -I -S /run/relay.py /run/llm.sock {RELAY_PORT} {STARTED_FD}>&- {STATUS_FD}>&- {SECCOMP_FD}>&- "
    f"|| exit 125; unset RELAY_PYTHON; {START}"
)


def build_command(order: Order, staged: Mapping[str, str], present: frozenset[str]) -> list[str]:
    """The whole argv, from bubblewrap to the program.

    `staged` maps a path inside to the staged source that is bound there read-only; it holds "/out", which is
    bound writable. `present` are the optional paths that exist: of the host (/usr/lib64, /etc/ld.so.cache, ...), and
    /python/lib where the interpreter needs its shared library from there.
    """
    limits = order.limits
    command = [order.bwrap, *NAMESPACES, "--uid", SANDBOX_UID, "--gid", SANDBOX_UID]
    command += _system(present)
    command += ["--dev", "/dev", "--size", str(limits.shm_mib * MIB), "--tmpfs", "/dev/shm"]
    for device in order.devices:
        command += ["--dev-bind", device, device]
    # Bubblewrap's namespaces belong to the program's uid, which might set what they let be set (of message queues).
    command += ["--remount-ro", "/dev", "--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"]
    command += [
        "--size",
        str(limits.scratch_mib * MIB),
        "--tmpfs",
        "/scratch",
        "--symlink",
        "scratch",
        "/tmp",
    ]
    for target, source in sorted(staged.items()):
        command += ["--bind" if target == "/out" else "--ro-bind", source, target]
    for target, source in sorted(order.libraries.items()):
        command += ["--ro-bind", source, target]
    command += ["--remount-ro", "/", "--chdir", "/scratch"]
    for name, value in _environment(order, staged, present).items():
        command += ["--setenv", name, value]
    command += ["--json-status-fd", str(STATUS_FD), "--seccomp", str(SECCOMP_FD), "--"]
    script = NPROC.format(count=limits.processes) + (START_WITH_RELAY if order.socket else START)
    return [*command, "/bin/sh", "-c", script, "sh", *order.argv]


def _system(present: frozenset[str]) -> list[str]:
    binds = ["--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin"]
    for name in ("lib", "lib64", "lib32"):
        if f"/usr/{name}" in present:
            binds += ["--symlink", f"usr/{name}", f"/{name}"]
    if "/etc/ld.so.cache" in present:
        binds += ["--ro-bind", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    return binds


def _environment(order: Order, staged: Mapping[str, str], present: frozenset[str]) -> dict[str, str]:
    path = "/venv/bin:/usr/bin" if "/venv" in staged else "/usr/bin"
    env = {"PATH": path, **BASE_ENV}
    libraries = [INSIDE] * bool(order.libraries) + ["/python/lib"] * ("/python/lib" in present)
    if libraries:
        env["LD_LIBRARY_PATH"] = ":".join(libraries)
    if order.socket:
        env |= {"LLM_SOCKET": "/run/llm.sock", "RELAY_PYTHON": order.python}
    return env | dict(order.env)
