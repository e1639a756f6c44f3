"""The container backend: its command lines and settings everywhere, its leftovers where there is an engine."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from loop.errors import SandboxError
from loop.sandbox import chosen_backend, get_backend
from loop.sandbox.container import engine as engines
from loop.sandbox.container.backend import ContainerBackend
from loop.sandbox.container.engine import Box, Engine
from loop.sandbox.container.image import write_tar
from loop.sandbox.container.reap import owner, reap
from loop.types import Limits, SandboxSpec
from tests.loop.sandboxes import runnable

IMAGE = "sha256:" + "a" * 64
DOCKER = Engine("/usr/bin/docker", "docker", IMAGE, runtime="runsc", cpus=1.5)
PODMAN = Engine("/usr/bin/podman", "podman", IMAGE)
BOX = Box("sbx-1", "boot.7.99", 61000, "/filters/container.json")
LIMITS = Limits(
    memory_mib=100, scratch_mib=16, shm_mib=8, out_mib=4, out_files=9, processes=20, open_files=64
)
STAGED = {"/in": "/tmp/sbx-x/1", "/harness": "/tmp/sbx-x/0"}


def test_dockers_whole_command_line() -> None:
    argv = engines.run_argv(DOCKER, BOX, LIMITS, STAGED, ("/dev/nvidia0",))
    assert " ".join(argv).split(" ") == [
        "/usr/bin/docker", "run", "--rm", "--interactive", "--pull", "never", "--name", "sbx-1",
        "--label", "pawl.sandbox=boot.7.99", "--runtime", "runsc",
        "--network", "none", "--read-only", "--cap-drop", "ALL", "--ipc", "private",
        "--security-opt", "no-new-privileges", "--security-opt", "seccomp=/filters/container.json",
        "--user", "61000:61000", "--hostname", "sbx", "--workdir", "/scratch", "--log-driver", "none",
        "--stop-timeout", "0", "--memory", "176m", "--memory-swap", "176m", "--pids-limit", "21",
        "--cpus", "1.5", "--shm-size", "8m", "--ulimit", "nofile=64:64", "--ulimit", "core=1:1",
        "--ulimit", "nproc=4096:4096",
        "--tmpfs", "/scratch:rw,nosuid,nodev,exec,size=16m,mode=1777,nr_inodes=8192",
        "--tmpfs", "/out:rw,nosuid,nodev,noexec,size=4m,nr_inodes=10,mode=0700,uid=61000,gid=61000",
        "--mount", "type=bind,source=/tmp/sbx-x/0,target=/harness,readonly",
        "--mount", "type=bind,source=/tmp/sbx-x/1,target=/in,readonly",
        "--device", "/dev/nvidia0:/dev/nvidia0:rw",
        "--entrypoint", "/usr/local/bin/python3.11", IMAGE, "-I", "-S",
        "/run/pawl/loop/sandbox/container/init.py",
    ]  # fmt: skip
    assert engines.prepare_argvs(DOCKER, BOX, LIMITS) == []
    assert engines.remove_argvs(DOCKER, "sbx-1") == [
        ["/usr/bin/docker", "rm", "--force", "--volumes", "sbx-1"]
    ]


def test_podman_limits_the_files_of_out_by_a_volume_and_takes_its_runtime_first() -> None:
    engine = replace(PODMAN, runtime="runc")
    argv = engines.run_argv(engine, BOX, LIMITS, {})
    assert argv[:6] == ["/usr/bin/podman", "--log-level", "error", "--runtime", "runc", "run"]
    assert argv[argv.index("--tmpfs") + 1].endswith("size=16m,mode=1777,notmpcopyup")
    assert {"--read-only-tmpfs=false", "--http-proxy=false", "--no-hosts"} <= set(argv)
    assert argv[argv.index("--volume") + 1] == "sbx-1-out:/out:rw,nocopy,noexec,nosuid,nodev"
    (create,) = engines.prepare_argvs(engine, BOX, LIMITS)
    assert create[-1] == "sbx-1-out" and "pawl.sandbox=boot.7.99" in create
    assert "nr_blocks=1024,nr_inodes=10,nosuid,nodev,noexec,uid=61000,gid=61000,mode=0700" in create[-2]
    assert [argv[-1] for argv in engines.remove_argvs(engine, "sbx-1")] == ["sbx-1", "sbx-1-out"]


@pytest.mark.parametrize("engine", [DOCKER, PODMAN], ids=["docker", "podman"])
def test_no_command_line_gives_a_right_away(engine: Engine) -> None:
    words = " ".join(engines.run_argv(engine, BOX, LIMITS, STAGED))
    for gift in ("privileged ", "--cap-add", "host", "docker.sock", "unconfined", "--env", ":rw,z"):
        assert gift not in words.replace("--hostname", "").replace("--no-hosts", "")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it but what a test puts there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def client(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def refusal(**settings: str) -> str:
    probe = ContainerBackend({"PATH": os.environ["PATH"], **settings}).probe()
    assert not probe.ok and probe.facts == {}
    return probe.detail


def test_without_an_engine_it_refuses_and_says_what_to_install(programs: Path) -> None:
    assert "apt install podman" in refusal(PAWL_SANDBOX_IMAGE=IMAGE)
    assert "engine nerdctl is not installed" in refusal(
        PAWL_SANDBOX_IMAGE=IMAGE, PAWL_SANDBOX_ENGINE="nerdctl"
    )


@pytest.mark.parametrize("image", ["", "python:3.11-slim", "python@sha256:abc"])
def test_an_image_that_is_not_pinned_is_refused(programs: Path, image: str) -> None:
    client(programs, "podman", "exit 0")
    assert "by its digest" in refusal(PAWL_SANDBOX_IMAGE=image)


def test_an_engine_that_does_not_answer_is_quoted(programs: Path) -> None:
    client(programs, "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    assert "Cannot connect to the Docker daemon" in refusal(PAWL_SANDBOX_IMAGE=IMAGE)


def test_an_engine_that_cannot_start_containers_is_an_outage_and_not_a_result(programs: Path) -> None:
    client(programs, "podman", 'case "$*" in *" run "*) echo "no such image" >&2; exit 125;; esac')
    assert "no such image" in refusal(PAWL_SANDBOX_IMAGE=IMAGE)


def test_a_container_that_pretends_is_believed_nothing(programs: Path) -> None:
    """The client's output is what a subverted first process might send: it claims a file nobody asked for."""
    client(programs, "podman", r"""case "$*" in *" run "*) printf 'S\0\0\0\0F\0\0\0\003../';; esac""")
    assert "a file that nobody asked for" in refusal(PAWL_SANDBOX_IMAGE=IMAGE)


def test_gvisor_is_used_where_the_engine_lists_it(programs: Path) -> None:
    client(programs, "docker", f'echo "$*" >> {programs}/calls; echo "runc runsc"; exit 0')
    ContainerBackend({"PATH": str(programs), "PAWL_SANDBOX_IMAGE": IMAGE}).probe()
    calls = (programs / "calls").read_text()
    assert "--runtime runsc" in calls


def test_the_setting_chooses_and_an_unknown_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAWL_SANDBOX", "container")
    assert chosen_backend().name == "container"
    monkeypatch.setenv("PAWL_SANDBOX", "chroot")
    with pytest.raises(SandboxError, match="no sandbox backend named chroot; set PAWL_SANDBOX to bwrap or"):
        get_backend()
    monkeypatch.delenv("PAWL_SANDBOX")
    assert get_backend().name == "bwrap"


def test_a_chosen_backend_that_does_not_work_is_never_replaced_by_another(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAWL_SANDBOX", "container")
    monkeypatch.setattr("loop.sandbox._made", {"container": ContainerBackend({"PATH": str(programs)})})
    with pytest.raises(SandboxError, match="container sandbox does not work here"):
        get_backend()


def test_the_image_holds_python_and_its_libraries_and_none_of_our_packages() -> None:
    stream = io.BytesIO()
    write_tar(stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as tar:
        names = set(tar.getnames())
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    assert {
        f"usr/local/bin/{version}",
        f"usr/local/lib/{version}/os.py",
        "usr/bin/sh",
        "tmp",
    } <= names
    assert any(name.endswith("/libc.so.6") for name in names)
    assert names.isdisjoint({"scratch", "out"})
    assert not [name for name in names if "site-packages" in name or "django" in name.lower()]


def test_an_owner_is_one_process_of_one_boot() -> None:
    boot, pid, start = owner(os.getpid()).split(".")
    assert (len(boot), pid, start.isdigit()) == (36, str(os.getpid()), True)
    with pytest.raises(OSError):
        owner(2**22 + 1)


def test_containers_of_dead_owners_are_removed_and_no_others(programs: Path, tmp_path: Path) -> None:
    mine, gone = owner(os.getpid()), subprocess.Popen([sys.executable, "-c", ""])
    dead = owner(gone.pid)
    gone.wait()
    boot = mine.split(".")[0]
    lines = [
        f"sbx-live {mine}", f"sbx-dead {dead}", f"sbx-reused {boot}.{os.getpid()}.1", "sbx-elsewhere other.1.1",
    ]  # fmt: skip
    said = "\\n".join(lines)
    client(
        programs, "docker", f'case "$1" in ps) printf "{said}\\n";; *) echo "$*" >> {tmp_path}/calls;; esac'
    )
    engine = replace(DOCKER, path=str(programs / "docker"))
    assert reap(engine) == ["sbx-dead", "sbx-reused"]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == [f"rm --force --volumes {name}" for name in ("sbx-dead", "sbx-reused")]


@pytest.mark.parametrize("backend", [name for name in runnable() if name == "container"])
def test_a_run_leaves_no_container_and_no_volume(backend: str, tmp_path: Path) -> None:
    made = get_backend(backend)
    made.run(SandboxSpec((made.python, "-I", "-c", "pass"), (), ()), tmp_path)
    assert isinstance(made, ContainerBackend)
    engine = made._find()
    listed = subprocess.run(engines.list_argv(engine), capture_output=True, text=True, check=True).stdout
    assert owner(os.getpid()) not in listed
