"""Nothing of a sandbox outlives whoever asked for it, however they die."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from loop.errors import SandboxError
from loop.sandbox import get_backend, watch
from loop.types import Mount, SandboxSpec
from tests.loop.sandboxes import runnable

REPO = Path(__file__).resolve().parents[2]
PROGRAM = "/harness/main.py"
CALLER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from loop.sandbox import get_backend
from loop.types import Mount, SandboxSpec
folder, backend, marker = Path(sys.argv[2]), get_backend(sys.argv[3]), sys.argv[4]
argv = (backend.python, "-I", "/harness/main.py", marker)
print("ready", flush=True)
backend.run(SandboxSpec(argv, (Mount(folder, "/harness"),), ()), folder)
"""


def processes_with(marker: str, program: str = "") -> list[int]:
    """The pids of all processes on this machine whose command line holds `marker` and begins with `program`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if marker.encode() in line and line.startswith(program.encode()):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.005)
    return False


@pytest.mark.parametrize("backend", runnable())
def test_kill_9_of_the_caller_leaves_no_survivor(backend: str, tmp_path: Path) -> None:
    marker = f"survivor-{os.getpid()}-{time.monotonic_ns()}"
    (tmp_path / "main.py").write_text(
        f"import os, signal, subprocess, time\n"
        f"for number in range(1, 32):\n"
        f"    if number not in (9, 19): signal.signal(number, signal.SIG_IGN)\n"
        f"subprocess.Popen(['/bin/sh', '-c', 'sleep 60; : {marker}'], start_new_session=True)\n"
        f"time.sleep(60)\n"
    )
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER, str(REPO), str(tmp_path), backend, "-"], stdout=subprocess.PIPE
    )
    assert wait_until(lambda: bool(processes_with(marker)), 30)
    caller.send_signal(signal.SIGKILL)
    caller.communicate()
    assert wait_until(lambda: not processes_with(marker))


def test_what_waits_for_the_next_run_ends_with_the_caller(tmp_path: Path) -> None:
    """The supervisor and the process that are made ahead; each is of one run and of no other."""
    (tmp_path / "main.py").write_text("pass")
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER + "sys.stdin.read()", str(REPO), str(tmp_path), "bwrap", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert wait_until(lambda: len(watch.tree(caller.pid)) == 4), watch.tree(caller.pid)
    waiting = watch.tree(caller.pid)
    caller.send_signal(signal.SIGKILL)
    caller.communicate()
    assert wait_until(lambda: not [pid for pid in waiting if Path(f"/proc/{pid}").exists()])


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])


def supervisor_of(pid: int) -> int:
    """The supervisor above a process in bubblewrap; for one in a container, whose parent is the engine, our own."""
    while pid > 1:
        if pid in processes_with("sandbox/supervisor.py"):
            return pid
        pid = parent_of(pid)
    return next(each for each in processes_with("container/supervisor.py") if parent_of(each) == os.getpid())


@pytest.mark.parametrize("backend", runnable())
def test_kill_9_of_the_supervisor_leaves_no_survivor_and_is_an_outage(backend: str, tmp_path: Path) -> None:
    marker = f"survivor-{os.getpid()}-{time.monotonic_ns()}"
    source = f"import subprocess\nsubprocess.run(['/bin/sh', '-c', 'sleep 60; : {marker}'])"
    (tmp_path / "main.py").write_text(source)
    spec = SandboxSpec((get_backend(backend).python, "-I", PROGRAM), (Mount(tmp_path, "/harness"),), ())
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(get_backend(backend).run, spec, tmp_path)
        assert wait_until(lambda: bool(processes_with(marker)), 30)
        os.kill(supervisor_of(processes_with(marker)[0]), signal.SIGKILL)
        with pytest.raises(SandboxError, match="supervisor failed"):
            running.result(10)
    assert wait_until(lambda: not processes_with(marker))


@pytest.mark.parametrize("attempt", range(6))
def test_kill_9_of_the_caller_while_bubblewrap_sets_up_leaves_no_survivor(
    attempt: int, tmp_path: Path
) -> None:
    marker = f"survivor-{os.getpid()}-{time.monotonic_ns()}"
    (tmp_path / "main.py").write_text("import time; time.sleep(60)")
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER, str(REPO), str(tmp_path), "bwrap", marker], stdout=subprocess.PIPE
    )
    # Bubblewrap's own command line has the marker long before the program runs.
    bubblewrap = shutil.which("bwrap") or ""
    seen = wait_until(lambda: bool(processes_with(marker, bubblewrap)))
    caller.send_signal(signal.SIGKILL)
    caller.communicate()
    assert seen
    assert wait_until(lambda: not processes_with(marker))


# Makes the sandbox's first process forget its parent's death and wait for ever: x86-64 machine code.
TAKEOVER = """
import os, subprocess, sys, time
code = bytes.fromhex("bf01000000 31f6 b89d000000 0f05 b822000000 0f05 ebf7")
place = int(open("/proc/1/syscall").read().split()[-1], 16)
with open("/proc/1/mem", "r+b", buffering=0) as memory:
    memory.seek(place)
    memory.write(code)
if os.fork() == 0:
    os.fork()
    os._exit(0)
while open("/proc/1/syscall").read().split()[0] != "34":
    time.sleep(0.001)
subprocess.run(["/bin/sh", "-c", "sleep 60; : " + sys.argv[1] + "-taken"])
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the program writes x86-64 machine code")
def test_kill_9_of_the_supervisor_leaves_no_survivor_of_a_rewritten_first_process(tmp_path: Path) -> None:
    marker = f"survivor-{os.getpid()}-{time.monotonic_ns()}"
    (tmp_path / "main.py").write_text(TAKEOVER)
    backend = get_backend("bwrap")
    spec = SandboxSpec((backend.python, "-I", PROGRAM, marker), (Mount(tmp_path, "/harness"),), ())
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(backend.run, spec, tmp_path)
        assert wait_until(lambda: bool(processes_with(f": {marker}-taken"))), running.result(10).log_tail
        os.kill(supervisor_of(processes_with(f"{marker}-taken")[0]), signal.SIGKILL)
        with pytest.raises(SandboxError, match="supervisor failed"):
            running.result(10)
    assert wait_until(lambda: not processes_with(marker))
