"""Device nodes that a task may name, and the driver libraries that go with them. Never all of /dev."""

from __future__ import annotations

import re
import stat
import subprocess
from collections.abc import Iterable
from pathlib import Path

from loop.errors import SandboxError

ALLOWED = re.compile(
    r"/dev/(nvidia[0-9]{1,2}|nvidiactl|nvidia-uvm|nvidia-uvm-tools|dri/renderD1[0-9]{2}|kfd)"
)
GPU = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm")
LIBRARY = re.compile(r"lib(cuda|nvidia-ml|nvidia-ptxjitcompiler|nvidia-nvvm|nvidia-gpucomp)\.so(\.[0-9.]+)?")
LISTED = re.compile(r"^\s*(\S+) \(([^)]*)\) => (\S+)$", re.MULTILINE)
FOLDERS = (Path("/usr/local/nvidia/lib64"), Path("/usr/lib/wsl/lib"))
INSIDE = "/run/gpu"
LDCONFIG = "/sbin/ldconfig"


def checked_devices(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names themselves. Raises SandboxError for one that may not be passed or that this machine lacks."""
    for name in names:
        if not ALLOWED.fullmatch(name):
            raise SandboxError(
                f"The device {name} may not be passed to a sandbox; only a GPU's own nodes may."
            )
        if not _is_device(name):
            raise SandboxError(
                f"The task needs the device {name}, which this machine does not have; run it where there is a GPU."
            )
    return names


def driver_libraries(devices: tuple[str, ...]) -> dict[str, str]:
    """{path inside: host path} of the driver's libraries, found by name; {} for a run without a device."""
    if not devices:
        return {}
    listing = subprocess.run([LDCONFIG, "-p"], capture_output=True, text=True, check=False).stdout
    loose = [path for folder in FOLDERS if folder.is_dir() for path in sorted(folder.iterdir())]
    return pick_libraries(listing, loose)


def pick_libraries(listing: str, loose: Iterable[Path]) -> dict[str, str]:
    """The driver's libraries in what `ldconfig -p` printed and among loose files; 64-bit ones, the first of a name."""
    found: dict[str, str] = {}
    for name, kind, path in LISTED.findall(listing):
        if LIBRARY.fullmatch(name) and "64" in kind:
            found.setdefault(f"{INSIDE}/{name}", path)
    for path in loose:
        if LIBRARY.fullmatch(path.name):
            found.setdefault(f"{INSIDE}/{path.name}", str(path))
    return found


def _is_device(name: str) -> bool:
    try:
        return stat.S_ISCHR(Path(name).stat().st_mode)
    except OSError:
        return False
