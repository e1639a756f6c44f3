"""The sandbox contract, on the fake and on bubblewrap, and what only the real one can show."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loop.errors import SandboxError
from loop.sandbox import cgroup, get_backend
from loop.sandbox.base import SandboxBackend
from loop.sandbox.bwrap import BwrapBackend, python_inside
from loop.sandbox.fake import FakeBackend, FakeRun
from loop.sandbox.logs import LogKeeper, escape
from loop.sandbox.seccomp import generate
from loop.types import Limits, Mount, Outcome, SandboxResult, SandboxSpec

PROGRAM = "/harness/main.py"
MIB = 1 << 20


@dataclass(frozen=True)
class Case:
    """One program in both forms: Python source for the real sandbox, a function for the fake."""

    source: str
    act: Callable[[FakeRun], int]


def say_and(code: int) -> Callable[[FakeRun], int]:
    def act(run: FakeRun) -> int:
        run.say("hello\n")
        return code

    return act


def write(*files: tuple[str, bytes]) -> Callable[[FakeRun], int]:
    def act(run: FakeRun) -> int:
        for name, data in files:
            run.write(name, data)
        return 0

    return act


def sleep(run: FakeRun) -> int:
    run.write("a.txt", b"early")
    run.sleep(30)
    return 0


def flood(run: FakeRun) -> int:
    for _ in range(200):
        run.say("x" * MIB)
    return 0


def echo(run: FakeRun) -> int:
    run.write("a.txt", run.read("/in/word"))
    return 0


def read_host(run: FakeRun) -> int:
    run.read("/root/.bashrc")
    return 0


def many(run: FakeRun) -> int:
    for index in range(100):
        run.write(f"{index}", b"")
    return 0


@pytest.fixture(params=["fake", "bwrap"])
def run_case(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., SandboxResult]:
    """Runs a Case on each backend; /in holds a file `word`, and a.txt and b.txt are collected."""

    def run(case: Case, **limits: Any) -> SandboxResult:
        harness, inputs, out = (tmp_path / name for name in ("harness", "in", "out"))
        for folder in (harness, inputs, out):
            folder.mkdir()
        (harness / "main.py").write_text(case.source)
        (inputs / "word").write_text("pawl")
        backend: SandboxBackend = (
            FakeBackend({PROGRAM: case.act}) if request.param == "fake" else get_backend()
        )
        mounts = (Mount(harness, "/harness"), Mount(inputs, "/in"))
        spec = SandboxSpec(
            (python_inside(), "-I", PROGRAM), mounts, ("a.txt", "b.txt"), Limits(**({"wall_s": 10} | limits))
        )
        return backend.run(spec, out)

    return run


Runner = Callable[..., SandboxResult]


def test_a_program_that_ends_well_is_ok_and_its_log_is_kept(run_case: Runner) -> None:
    result = run_case(Case("print('hello')", say_and(0)))
    assert (result.outcome, result.reason, result.exit_code) == (Outcome.OK, "", 0)
    assert result.log_tail == "hello\n"
    assert result.usage.processes == 1


def test_an_exit_status_makes_a_failed_harness(run_case: Runner) -> None:
    result = run_case(Case("print('hello'); raise SystemExit(3)", say_and(3)))
    assert (result.outcome, result.exit_code) == (Outcome.HARNESS_FAILED, 3)
    assert "exit status 3" in result.reason


def test_named_outputs_come_out_with_size_and_digest_and_others_stay(
    run_case: Runner, tmp_path: Path
) -> None:
    source = "open('/out/a.txt', 'w').write('one'); open('/out/secret.txt', 'w').write('two')"
    result = run_case(Case(source, write(("a.txt", b"one"), ("secret.txt", b"two"))))
    assert [(file.name, file.size) for file in result.outputs] == [("a.txt", 3)]
    assert result.outputs[0].sha256 == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    assert os.listdir(tmp_path / "out") == ["a.txt"]
    assert (tmp_path / "out" / "a.txt").read_text() == "one"


def test_a_mount_can_be_read(run_case: Runner, tmp_path: Path) -> None:
    run_case(Case("open('/out/a.txt', 'w').write(open('/in/word').read())", echo))
    assert (tmp_path / "out" / "a.txt").read_text() == "pawl"


def test_what_is_not_mounted_is_not_there(run_case: Runner) -> None:
    result = run_case(Case("open('/root/.bashrc')", read_host))
    assert result.outcome is Outcome.HARNESS_FAILED
    assert "FileNotFoundError" in result.log_tail


def test_a_program_that_outstays_its_time_is_stopped(run_case: Runner) -> None:
    source = "open('/out/a.txt', 'w').write('early')\nimport time; time.sleep(30)"
    result = run_case(Case(source, sleep), wall_s=1)
    assert (result.outcome, result.exit_code) == (Outcome.TIMEOUT, None)
    assert "1 s of wall time" in result.reason


def test_a_log_flood_is_stopped_and_only_its_tail_is_kept(run_case: Runner) -> None:
    result = run_case(Case("while True: print('x' * 1000000)", flood), log_kill_mib=2, log_kib=1)
    assert result.outcome is Outcome.LIMIT
    assert len(result.log_tail) < 1100
    assert "earlier bytes not kept" in result.log_tail


def test_the_output_folder_holds_a_limited_number_of_files(run_case: Runner) -> None:
    source = "for index in range(100): open(f'/out/{index}', 'w')"
    result = run_case(Case(source, many))
    assert result.outcome is Outcome.HARNESS_FAILED
    assert "No space left on device" in result.log_tail


def test_the_output_folder_holds_a_limited_number_of_bytes(run_case: Runner) -> None:
    source = "for name in 'ab': open(f'/out/{name}.txt', 'wb').write(bytes(3 << 20))"
    result = run_case(Case(source, write(("a.txt", bytes(3 * MIB)), ("b.txt", bytes(3 * MIB)))), out_mib=4)
    assert result.outcome is Outcome.HARNESS_FAILED
    assert "No space left on device" in result.log_tail


@pytest.fixture
def real(tmp_path: Path) -> Callable[..., SandboxResult]:
    """Runs a piece of Python source in bubblewrap; a.txt is collected."""

    def run(source: str, spec: dict[str, Any] | None = None, **limits: Any) -> SandboxResult:
        harness, out = tmp_path / "harness", tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        harness.mkdir(exist_ok=True)
        out.mkdir()
        (harness / "main.py").write_text(source)
        chosen: dict[str, Any] = {
            "argv": (python_inside(), "-I", PROGRAM),
            "mounts": (Mount(harness, "/harness"),),
            "outputs": ("a.txt",),
            "limits": Limits(**({"wall_s": 10} | limits)),
        }
        return get_backend().run(SandboxSpec(**(chosen | (spec or {}))), out)

    return run


def test_the_probe_says_what_is_guaranteed() -> None:
    probe = BwrapBackend().probe()
    assert probe.ok
    assert set(probe.facts) >= {"version", "kernel", "boundary", "worker", "memory", "host_paths"}


def test_without_bubblewrap_nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    probe = BwrapBackend().probe()
    assert not probe.ok
    assert "apt install bubblewrap" in probe.detail
    with pytest.raises(SandboxError, match="apt install bubblewrap"):
        BwrapBackend().run(SandboxSpec(("/usr/bin/true",), (), ()), tmp_path)


def test_a_bubblewrap_that_cannot_set_up_is_an_outage_and_not_a_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(folder) / "bwrap"
        broken.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2; exit 1\n")
        for path in (broken, broken.parent):
            path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        probe = BwrapBackend().probe()
    assert not probe.ok
    assert "setting up uid map" in probe.detail
    assert "AppArmor" in probe.detail


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(SandboxError, match="no sandbox backend named docker"):
        get_backend("docker")


def test_the_program_sees_no_host_path_and_no_foreign_variable(
    real: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PROVIDER_KEY", "sk-host")
    result = real("import os; print(sorted(os.environ)); print(open('/proc/self/mountinfo').read())")
    assert result.outcome is Outcome.OK
    assert "PROVIDER_KEY" not in result.log_tail
    assert str(tmp_path) not in result.log_tail
    assert str(Path.home()) not in result.log_tail
    assert "PYTHONDONTWRITEBYTECODE" in result.log_tail


def test_the_program_inherits_no_descriptor(real: Runner) -> None:
    result = real("import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))")
    assert result.log_tail == "[0, 1, 2, 3]\n"


def test_git_and_compiled_leftovers_of_a_tree_are_not_shown(real: Runner, tmp_path: Path) -> None:
    for name in (".git", "__pycache__"):
        (tmp_path / "harness" / name).mkdir(parents=True)
        (tmp_path / "harness" / name / "config").write_text("x")
    result = real("import os; print(sorted(os.listdir('/harness')))")
    assert result.log_tail == "['main.py']\n"


def test_a_private_source_can_be_read_inside_whatever_its_mode(real: Runner, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (private / "inputs").write_text("42")
    (private / "inputs").chmod(0o600)
    result = real("print(open('/in/inputs').read())", {
        "mounts": (Mount(tmp_path / "harness", "/harness"), Mount(private, "/in")),
    })  # fmt: skip
    assert result.log_tail == "42\n"


def test_processor_time_counts_all_processes_even_reaped_ones(real: Runner) -> None:
    burn = "import time\ndef burn():\n    while time.process_time() < 0.2: pass\n"
    result = real(
        burn + "import os\nfor _ in range(2):\n    if not os.fork(): burn(); os._exit(0)\n    os.wait()\n"
    )
    assert result.outcome is Outcome.OK
    assert result.usage.cpu_s is not None and result.usage.cpu_s >= 0.4


def test_processor_time_is_limited_over_all_processes_together(real: Runner) -> None:
    result = real("import os\nos.fork(); os.fork()\nwhile True: pass", cpu_s=1)
    assert result.outcome is Outcome.LIMIT
    assert "processor time" in result.reason


def test_threads_and_processes_are_limited_and_counted(real: Runner) -> None:
    source = "import os, time\ntry:\n    while os.fork(): pass\nexcept OSError: time.sleep(.5)\nelse: time.sleep(5)"
    result = real(source, processes=16)
    assert result.outcome is Outcome.OK
    assert result.usage.processes is not None and 10 <= result.usage.processes <= 16


def test_memory_over_the_limit_ends_the_run(real: Runner) -> None:
    result = real(
        "x = [bytearray(b'1' * 2**20) for _ in range(900)]; import time; time.sleep(5)", memory_mib=256
    )
    assert result.outcome is Outcome.LIMIT
    assert "256 MiB of memory" in result.reason
    assert result.usage.peak_mib is not None and result.usage.peak_mib > 200


def test_memory_that_a_watchdog_cannot_see_in_time_is_held_by_a_control_group(real: Runner) -> None:
    version = cgroup.available()
    assert ("hard" in BwrapBackend().probe().facts["memory"]) == (version is not None)
    if version is None:
        return  # an ordinary user's worker: the watchdog alone, as the probe says
    source = "import mmap\nm = mmap.mmap(-1, 600 << 20)\nfor at in range(0, 600 << 20, 4096): m[at] = 1\n"
    result = real(source, memory_mib=64, scratch_mib=16, shm_mib=16, out_mib=16)
    assert result.outcome is Outcome.LIMIT
    assert result.usage.peak_mib is not None and result.usage.peak_mib < 64 + 3 * 16 + 8
    base = cgroup.VERSION_1 if version == 1 else cgroup.VERSION_2
    assert not [path for path in base.glob(f"{cgroup.PREFIX}*") if not Path("/proc", path.name[5:]).exists()]


def test_memory_that_forks_share_counts_once(real: Runner) -> None:
    source = "import os, time\nx = b'1' * (100 << 20)\nfor _ in range(4):\n    if not os.fork(): break\ntime.sleep(.6)"
    assert real(source, memory_mib=256).outcome is Outcome.OK


def test_two_runs_at_once_have_different_uids_and_both_end_well(real: Runner, tmp_path: Path) -> None:
    source = "import re, time; time.sleep(.5); print(re.findall('uid=[0-9]+', open('/proc/self/mountinfo').read()))"

    def one(index: int) -> SandboxResult:
        folder = tmp_path / str(index)
        (folder / "out").mkdir(parents=True)
        (folder / "main.py").write_text(source)
        spec = SandboxSpec((python_inside(), "-I", PROGRAM), (Mount(folder, "/harness"),), ())
        return get_backend().run(spec, folder / "out")

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(one, range(2)))
    assert [result.outcome for result in results] == [Outcome.OK, Outcome.OK]
    assert len({result.log_tail for result in results}) == (2 if os.geteuid() == 0 else 1)


def test_a_program_that_cannot_be_found_is_the_harness_own_failure(real: Runner) -> None:
    result = real("", {"argv": ("/usr/bin/no-such-program",)})
    assert (result.outcome, result.exit_code) == (Outcome.HARNESS_FAILED, 127)


@pytest.mark.parametrize("target", ["/out", "/scratch", "relative", "/in/../usr", "/usr"])
def test_a_mount_over_the_sandbox_itself_is_refused(real: Runner, tmp_path: Path, target: str) -> None:
    with pytest.raises(SandboxError, match="cannot be a mount target"):
        real("", {"mounts": (Mount(tmp_path, target),)})


@pytest.mark.parametrize("name", ["../a", "a/b", "..", ""])
def test_an_output_name_with_a_folder_is_refused(real: Runner, name: str) -> None:
    with pytest.raises(SandboxError, match="not a plain file name"):
        real("", {"outputs": (name,)})


def test_a_missing_source_is_an_outage_that_names_it(real: Runner, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="nowhere"):
        real("", {"mounts": (Mount(tmp_path / "nowhere", "/in"),)})


def test_the_shipped_filters_are_what_the_generator_makes() -> None:
    folder = Path(generate.__file__).parent
    for arch in generate.DENIED:
        assert (folder / f"{arch}.bpf").read_bytes() == generate.build(arch)


def test_escaped_text_cannot_move_reorder_or_hide() -> None:
    hostile = "a\x1b[2Jb\u202ec\u200bd\x00e\u2028f\rg".encode() + b"\xff"
    text = escape(hostile)
    assert text == "a\\x1b[2Jb\\u202ec\\u200bd\\x00e\\u2028f\\x0dg\\xff"
    assert escape("line\n\ttäb ✓".encode()) == "line\n\ttäb ✓"


def test_a_log_keeper_keeps_the_tail() -> None:
    keeper = LogKeeper(4)
    for part in (b"abc", b"defghij", b"kl"):
        keeper.feed(part)
    assert keeper.text() == "[8 earlier bytes not kept]\nijkl"
    assert json.dumps(keeper.text())
