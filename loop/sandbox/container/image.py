"""An image to run sandboxes in, made from this machine's own files: no registry is asked.

It holds the Python that runs Pawl (without its packages), a shell and a few small programs, and the shared libraries
that these and ready-made wheels need. Nothing of Pawl is in it.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable
from pathlib import Path

from loop.errors import SandboxError

NAME = "localhost/pawl-sandbox"
PROGRAMS = ("sh", "env", "true", "false", "cat", "sleep", "ls", "id", "mkdir", "rm", "cp", "mv", "uname")
WHEEL_LIBRARIES = ("libstdc++.so.6", "libgcc_s.so.1", "libgomp.so.1")
LEFT_OUT = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip"}
)
LINKS = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", "sbin": "usr/bin", "tmp": "scratch"}
# The engine makes the places that are mounted: it would give a memory file system the mode of a folder that is there.
FOLDERS = (
    "dev", "proc", "sys", "etc", "run", "usr/bin", "usr/lib", "usr/lib64",
    "usr/local/bin", "usr/local/lib",
)  # fmt: skip
LIBRARY = re.compile(r"(\S+) => (/\S+)")
LOADER = re.compile(r"^\s*(/\S*ld-linux\S*)", re.MULTILINE)
IMPORT_S = 600


def build(engine: str) -> str:
    """Imports the image with the engine's client at the path `engine`; returns its id, `sha256:...`.

    Raises SandboxError where the engine refuses.
    """
    with subprocess.Popen(
        [engine, "import", "-", f"{NAME}:latest"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as client:
        assert client.stdin and client.stdout and client.stderr
        try:
            write_tar(client.stdin)
            client.stdin.close()
        except BrokenPipeError:
            client.stdin = None
        said, errors = client.stdout.read().decode(), client.stderr.read().decode(errors="replace")
    found = re.search(r"[0-9a-f]{64}", said)
    if client.returncode != 0 or found is None:
        words = next(reversed(errors.strip().splitlines()), "it said nothing")
        raise SandboxError(f"{engine} could not import the image: {words}")
    return f"sha256:{found[0]}"


def write_tar(target: io.BufferedIOBase | io.RawIOBase | object) -> None:
    """Writes the image's files as a tar stream: root's own, without times, so that equal files give equal bytes."""
    with tarfile.open(fileobj=target, mode="w|") as tar:  # type: ignore[call-overload]
        for folder in FOLDERS:
            tar.addfile(_entry(folder, tarfile.DIRTYPE, 0o755))
        for link, place in LINKS.items():
            entry = _entry(link, tarfile.SYMTYPE, 0o777)
            entry.linkname = place
            tar.addfile(entry)
        for name, source in sorted(_files().items()):
            _add(tar, name, source)


def _files() -> dict[str, Path]:
    """{path inside: source}, all regular files."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    python = Path(sys.base_prefix, "bin", version).resolve()
    files = {f"usr/local/bin/{name}": python for name in (version, "python3")}
    standard = Path(sysconfig.get_path("stdlib"))
    for path in standard.rglob("*"):
        inner = path.relative_to(standard)
        if path.is_file() and LEFT_OUT.isdisjoint(inner.parts):
            files[f"usr/local/lib/{version}/{inner}"] = path
    for name in PROGRAMS:
        found = shutil.which(name, path="/usr/bin:/bin")
        if found:
            files[f"usr/bin/{name}"] = Path(found).resolve()
    binaries = [path for name, path in files.items() if path.suffix == ".so" or "/bin/" in name]
    return files | _libraries(binaries)


def _libraries(binaries: Iterable[Path]) -> dict[str, Path]:
    """The shared libraries that the binaries and common wheels need, by the name that the loader looks for."""
    said = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, check=False).stdout
    found = dict(LIBRARY.findall(said))
    cache = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    for line in cache.splitlines():
        name, _, path = line.strip().partition(" => ")
        if name.split(" ")[0] in WHEEL_LIBRARIES:
            found.setdefault(name.split(" ")[0], path)
    folder = f"usr/lib/{sysconfig.get_config_var('MULTIARCH') or ''}".rstrip("/")
    libraries = {f"{folder}/{name}": Path(path).resolve() for name, path in found.items()}
    for loader in set(LOADER.findall(said)):
        libraries[f"usr{loader}" if not loader.startswith("/usr") else loader.lstrip("/")] = Path(
            loader
        ).resolve()
    return libraries


def _add(tar: tarfile.TarFile, name: str, source: Path) -> None:
    data = source.read_bytes()
    entry = _entry(name, tarfile.REGTYPE, 0o755 if source.stat().st_mode & 0o100 else 0o644)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry
