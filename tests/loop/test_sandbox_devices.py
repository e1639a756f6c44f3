"""GPU tasks: named nodes and driver libraries, on both command lines, and on a GPU where this machine has one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from loop.catalog import load_task
from loop.errors import SandboxError, TaskError
from loop.sandbox import get_backend
from loop.sandbox.command import build_command
from loop.sandbox.container import engine as engines
from loop.sandbox.devices import GPU, checked_devices, pick_libraries
from loop.sandbox.fake import FakeBackend
from loop.sandbox.protocol import Order
from loop.types import Limits, Outcome, SandboxSpec
from tests.loop.sandboxes import runnable
from tests.loop.tiny_task import TASK_TOML, write_task

LIBRARIES = {"/run/gpu/libcuda.so.1": "/usr/lib/libcuda.so.1"}
ORDER = Order(
    parent=1, argv=("/usr/bin/true",), python="/usr/bin/python3", copies={}, layers={}, env={}, outputs=(),
    collect_to="/tmp", limits=Limits(), seccomp="/f", relay="/r", bwrap="/usr/bin/bwrap",
)  # fmt: skip
HERE = [name for name in runnable() if all(Path(device).exists() for device in GPU)]


def gpu_task(folder: Path, lines: str) -> Path:
    return write_task(folder, toml=TASK_TOML.replace("needs = []", lines))


def test_bubblewrap_binds_the_named_nodes_before_dev_is_read_only_and_no_other() -> None:
    order = replace(ORDER, devices=GPU, libraries=LIBRARIES)
    command = build_command(order, {"/out": "/mnt/out", "/python": "/mnt/0"}, frozenset({"/python/lib"}))
    assert [command[at + 1] for at, word in enumerate(command) if word == "--dev-bind"] == list(GPU)
    assert command.index("--dev-bind") < command.index("--remount-ro")
    text = " ".join(command)
    assert "--ro-bind /usr/lib/libcuda.so.1 /run/gpu/libcuda.so.1" in text
    assert "--setenv LD_LIBRARY_PATH /run/gpu:/python/lib" in text
    assert "--dev-bind" not in build_command(ORDER, {"/out": "/mnt/out"}, frozenset())


def test_an_engine_passes_the_named_nodes_and_no_other() -> None:
    engine = engines.Engine("/usr/bin/docker", "docker", "sha256:" + "a" * 64)
    box = engines.Box("sbx-1", "o", 1000, "/f")
    argv = engines.run_argv(engine, box, Limits(), LIBRARIES, GPU)
    passed = [argv[at + 1] for at, word in enumerate(argv) if word == "--device"]
    assert passed == [f"{device}:{device}:rw" for device in GPU]
    assert "type=bind,source=/usr/lib/libcuda.so.1,target=/run/gpu/libcuda.so.1,readonly" in argv
    assert "--device" not in engines.run_argv(engine, box, Limits(), {})


@pytest.mark.parametrize(
    "name", ["/dev", "/dev/sda", "/dev/mem", "/dev/nvidia0/../sda", "nvidia0", "/dev/nvidia-caps/nvidia-cap1"]
)
def test_a_node_that_is_no_gpus_own_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="only a GPU's own nodes may"):
        checked_devices((name,))
    with pytest.raises(TaskError, match="devices may hold only device nodes of a GPU"):
        load_task(gpu_task(tmp_path, f'needs = ["gpu"]\ndevices = ["{name}"]'))


def test_a_task_names_its_nodes_or_gets_the_first_gpus(tmp_path: Path) -> None:
    assert load_task(gpu_task(tmp_path / "a", 'needs = ["gpu"]')).devices == GPU
    two = load_task(gpu_task(tmp_path / "b", 'needs = ["gpu"]\ndevices = ["/dev/nvidia1", "/dev/nvidiactl"]'))
    assert two.devices == ("/dev/nvidia1", "/dev/nvidiactl")
    assert load_task(write_task(tmp_path / "c")).devices == ()
    with pytest.raises(TaskError, match="only together with needs"):
        load_task(gpu_task(tmp_path / "d", 'needs = []\ndevices = ["/dev/nvidia0"]'))


@pytest.mark.parametrize("name", ["fake", *runnable()])
def test_a_run_that_needs_a_missing_node_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    backend = FakeBackend({"x": lambda _run: 0}) if name == "fake" else get_backend(name)
    spec = SandboxSpec(("x",), (), (), devices=("/dev/nvidia99",))
    with pytest.raises(SandboxError, match=r"needs the device /dev/nvidia99.*run it where there is a GPU\.$"):
        backend.run(spec, tmp_path)


def test_driver_libraries_are_known_by_name_and_the_first_64_bit_one_counts() -> None:
    listing = """
        libcuda.so.1 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libcuda.so.1
        libcuda.so.1 (libc6) => /usr/lib/i386-linux-gnu/libcuda.so.1
        libcudart.so.12 (libc6,x86-64) => /opt/libcudart.so.12
        libc.so.6 (libc6,x86-64) => /lib/x86_64-linux-gnu/libc.so.6
    """
    loose = [Path("/usr/local/nvidia/lib64/libnvidia-ml.so.1"), Path("/usr/local/nvidia/lib64/libcuda.so.1")]
    assert pick_libraries(listing, loose) == {
        "/run/gpu/libcuda.so.1": "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
        "/run/gpu/libnvidia-ml.so.1": "/usr/local/nvidia/lib64/libnvidia-ml.so.1",
    }


@pytest.mark.parametrize("name", HERE)
def test_a_harness_finds_the_gpu_and_no_other_device(name: str, tmp_path: Path) -> None:
    backend = get_backend(name)
    source = (
        "import ctypes, os\ncuda = ctypes.CDLL('libcuda.so.1'); count = ctypes.c_int()\n"
        "print(cuda.cuInit(0), cuda.cuDeviceGetCount(ctypes.byref(count)), count.value > 0, os.path.exists('/dev/sda'))"
    )
    spec = SandboxSpec(
        (backend.python, "-I", "-c", source),
        (),
        (),
        Limits(address_space_mib=1 << 22, memory_mib=8192),
        devices=GPU,
    )
    result = backend.run(spec, tmp_path)
    assert (result.outcome, result.log_tail) == (Outcome.OK, "0 0 True False\n")
