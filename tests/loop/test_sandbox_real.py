"""What only a real sandbox can show, on each one that works on this machine."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from loop.errors import SandboxError
from loop.sandbox import get_backend
from loop.types import Mount, Outcome, SandboxResult
from tests.loop.sandboxes import runnable, runner_of

Runner = Callable[..., SandboxResult]


@pytest.fixture(params=runnable())
def real(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., SandboxResult]:
    """Runs a piece of Python source in each real sandbox that works here; a.txt is collected."""
    return runner_of(get_backend(request.param), tmp_path)


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


@pytest.mark.parametrize("name", runnable())
def test_the_program_inherits_no_descriptor_when_many_runs_start_at_once(name: str, tmp_path: Path) -> None:
    source = "import os, time; print(sorted(map(int, os.listdir('/proc/self/fd')))); time.sleep(0.05)"
    runs = []
    with ThreadPoolExecutor(6) as pool:
        for number in range(12):
            (tmp_path / str(number)).mkdir()
            runs.append(pool.submit(runner_of(get_backend(name), tmp_path / str(number)), source))
    assert [run.result().log_tail for run in runs] == ["[0, 1, 2, 3]\n"] * 12


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


def test_processor_time_of_children_that_nobody_buries_is_limited(real: Runner) -> None:
    source = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    if not os.fork():
        while time.process_time() < 0.4: pass
        os._exit(0)
    try:
        os.wait()
    except ChildProcessError:
        pass
"""
    result = real(source, cpu_s=1)
    assert result.outcome is Outcome.LIMIT
    assert "processor time" in result.reason


def test_threads_and_processes_are_limited_and_counted(real: Runner) -> None:
    source = "import os, time\ntry:\n    while os.fork(): pass\nexcept OSError: time.sleep(.5)\nelse: time.sleep(5)"
    result = real(source, processes=16)
    assert result.outcome is Outcome.OK
    assert result.usage.processes is not None and 10 <= result.usage.processes <= 16


@pytest.mark.parametrize(("count", "outcome"), [(40, Outcome.OK), (100, Outcome.LIMIT)])
def test_a_program_may_have_some_terminals_and_not_many(real: Runner, count: int, outcome: Outcome) -> None:
    source = f"import os, time; kept = [os.openpty() for _ in range({count})]; time.sleep({count / 100})"
    result = real(source)
    assert result.outcome is outcome, result.log_tail
    assert ("64 terminals" in result.reason) == (outcome is Outcome.LIMIT)


def test_no_limit_on_core_files_can_be_set_that_starts_a_program_of_the_host(real: Runner) -> None:
    result = real("""
import resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
print(resource.getrlimit(resource.RLIMIT_CORE))
""")
    assert (result.outcome, result.log_tail) == (Outcome.OK, "(1, 1)\n"), result.log_tail


def test_memory_over_the_limit_ends_the_run(real: Runner) -> None:
    result = real(
        "x = [bytearray(b'1' * 2**20) for _ in range(900)]; import time; time.sleep(5)", memory_mib=256
    )
    assert result.outcome is Outcome.LIMIT
    assert "256 MiB of memory" in result.reason
    assert result.usage.peak_mib is not None and result.usage.peak_mib > 200


def test_memory_that_forks_share_counts_once(real: Runner) -> None:
    source = "import os, time\nx = b'1' * (100 << 20)\nfor _ in range(4):\n    if not os.fork(): break\ntime.sleep(.6)"
    assert real(source, memory_mib=256).outcome is Outcome.OK


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


def test_scratch_is_writable_and_limited_and_nothing_else_is_writable(real: Runner) -> None:
    source = """
import os
for path in ("/scratch/a", "/tmp/b", "/dev/shm/c"):
    open(path, "w").write("x")
for folder in ("/", "/usr", "/etc", "/run", "/dev", "/harness", "/venv", "/sys", "/proc/sys/kernel"):
    try:
        open(folder + "/made", "w")
        print("written", folder)
    except OSError:
        pass
try:
    with open("/scratch/large", "wb") as file:
        for _ in range(12): file.write(bytes(1 << 20))
    print("too much")
except OSError as error:
    print(error.strerror)
"""
    result = real(source, scratch_mib=8)
    assert (result.outcome, result.log_tail) == (Outcome.OK, "No space left on device\n")


def test_a_scratch_space_full_of_files_ends_the_run(real: Runner) -> None:
    source = (
        "import time\nfor index in range(20000):\n    open(f'/scratch/{index}', 'w').close()\ntime.sleep(9)"
    )
    result = real(source)
    assert result.outcome in {Outcome.LIMIT, Outcome.HARNESS_FAILED}
    assert "files in its scratch space" in result.reason or "No space left" in result.log_tail


def test_the_model_socket_is_reached_through_the_loopback_relay(real: Runner, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor(1) as pool:
        path = tmp_path / "llm.sock"
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()

        def answer() -> bytes:
            connection, _ = listener.accept()
            with connection:
                asked = connection.recv(100)
                connection.sendall(b"pong")
            return asked

        asked = pool.submit(answer)
        source = (
            "import os, socket\ns = socket.create_connection(('127.0.0.1', 8787)); s.sendall(b'ping')\n"
            "print(s.recv(9), os.environ['LLM_SOCKET'], 'RELAY_PYTHON' in os.environ)"
        )
        result = real(source, {"socket": path})
        assert result.log_tail == "b'pong' /run/llm.sock False\n"
        assert asked.result(5) == b"ping"
